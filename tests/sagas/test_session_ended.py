"""A worker that was frozen inside a transaction finds its session ended. That is weather, not a broken rule."""

from time import sleep

import pytest
from django.db import OperationalError, connection

from sagas import turns
from sagas.driver import drain_due
from sagas.engine import work
from sagas.models import SagaInstance, StepAttempt
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
