"""A worker that was frozen inside a transaction finds its session ended. That is weather, not a broken rule."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from time import sleep
from typing import Any

import pytest
from django.db import OperationalError, connection

from sagas import driver, turns
from sagas.driver import drain_due
from sagas.engine import work
from sagas.models import SagaInstance, StepAttempt
from sagas.outcomes import Refused
from sagas.testing.workers import let_time_pass
from tests.sagas.conftest import begin_trip, run
from tests.sagas.plans import World


def freeze_past_the_idle_limit() -> None:
    """PostgreSQL ends this session while the step holds its transaction, as after a SIGSTOP."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
    sleep(0.4)


def test_a_session_that_was_ended_in_a_step_is_tried_again_and_nobody_is_bothered(world: World):
    saga = begin_trip()
    world.does("reserve_seat", freeze_past_the_idle_limit)

    run()

    saga.refresh_from_db()
    assert saga.status == "COMPLETED"
    assert world.calls["reserve_seat"] == 2
    outcomes = StepAttempt.objects.filter(step="reserve_seat").order_by("number").values_list("outcome", flat=True)
    assert list(outcomes) == ["TRANSIENT", "DONE"]


def test_a_session_that_was_ended_before_the_engine_writes_is_weather_too(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    saga = begin_trip()
    finish = turns.finish
    frozen: list[bool] = []

    def frozen_first(*args: object) -> object:
        if not frozen:
            frozen.append(True)
            freeze_past_the_idle_limit()
        return finish(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(turns, "finish", frozen_first)
    with pytest.raises(OperationalError, match="idle-in-transaction"):
        work()
    drain_due()

    saga.refresh_from_db()
    assert (saga.status, SagaInstance.objects.count()) == ("COMPLETED", 1)


@contextmanager
def frozen_before(statement: int) -> Iterator[list[str]]:
    """This process is, past the idle limit, before its ``statement``-th statement in a transaction; tells which."""
    passed, frozen = count(1), []

    def freeze(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if connection.in_atomic_block and next(passed) == statement:
            frozen.append(sql)
            # By the driver: the statement that opens a step goes along with the next one of Django's.
            connection.connection.execute("SET LOCAL idle_in_transaction_session_timeout = '5ms'")
            sleep(0.05)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(freeze):
        yield frozen


@pytest.mark.parametrize(("answers", "end"), [((), "COMPLETED"), ((Refused("no", "no"),) * 3, "COMPENSATED")])
def test_wherever_in_its_transactions_a_worker_is_frozen_nothing_is_taken_for_a_bug(
    world: World, monkeypatch: pytest.MonkeyPatch, answers: tuple[Refused, ...], end: str
):
    monkeypatch.setattr(driver, "RECORD_AGAIN", 0.0)
    monkeypatch.setattr(driver._stopping, "wait", lambda seconds: None)
    struck = []
    for statement in count(1):
        world.script.clear()
        world.raises("pay", *answers)
        saga = begin_trip(f"T{statement}")
        with frozen_before(statement) as frozen:
            for _ in range(10):
                run()
                let_time_pass()
                if SagaInstance.objects.filter(pk=saga.pk, ended_at__isnull=False).exists():
                    break
        if not frozen:
            break
        struck += frozen
        saga.refresh_from_db()
        outcomes = set(StepAttempt.objects.filter(saga_id=saga.pk).values_list("outcome", flat=True))
        assert (saga.status, saga.attention, outcomes - {"DONE", "REFUSED", "TRANSIENT"}) == (end, "", set()), frozen
    assert len(struck) > 15
    assert any("INSERT INTO test_effect" in sql for sql in struck), "also where a call's answer is written down"
