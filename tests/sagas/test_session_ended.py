"""A worker that was frozen inside a transaction finds its session ended. That is weather, not a broken rule."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from select import select
from time import sleep
from typing import Any

import pytest
from django.db import InternalError, OperationalError, connection

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
    """This process is, past the idle limit, before its ``statement``-th statement in a transaction.

    Tells which that was, with its parameters, and that it met an ended session.
    """
    passed, frozen = count(1), []

    def freeze(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not connection.in_atomic_block or next(passed) != statement:
            return execute(sql, params, many, context)
        # By the driver: the statement that opens a step goes along with the next one of Django's.
        session = connection.connection
        session.execute("SET LOCAL idle_in_transaction_session_timeout = '5ms'")
        assert select([session], [], [], 30)[0], "PostgreSQL says that it ended the session"
        with pytest.raises((OperationalError, InternalError)) as met:
            execute(sql, params, many, context)
        frozen.append(f"{sql} {params}")
        raise met.value

    with connection.execute_wrapper(freeze):
        yield frozen


@pytest.mark.parametrize(
    ("answers", "end", "recorded"),
    [((), "COMPLETED", "'ticket flight-"), ((Refused("no", "no"),) * 3, "COMPENSATED", "LIKE 'ticket")],
    ids=["forward", "back"],
)
def test_wherever_in_its_transactions_a_worker_is_frozen_nothing_is_taken_for_a_bug(
    world: World, monkeypatch: pytest.MonkeyPatch, answers: tuple[Refused, ...], end: str, recorded: str
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
    assert any(recorded in statement for statement in struck), "also where the answer to a call is written down"
