"""What each commit of the engine leaves in the rows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from sagas.attempts import WORKER
from sagas.engine import Moved, record, work
from sagas.models import SagaEvent, SagaInstance, StepAttempt
from sagas.outcomes import Refused, Transient, Unknown
from sagas.states import ActionStatus, CompensationStatus, SagaStatus, check_move
from tests.sagas.conftest import begin_call, begin_trip, run, run_trip
from tests.sagas.plans import World
from tests.sagas.rows import moves, snapshot, statuses, step_of


def attempt(saga: SagaInstance, step: str, number: int = 1, side: str = "action") -> StepAttempt:
    return saga.attempts.get(step=step, number=number, side=side)


# --- the start ----------------------------------------------------------------------------------


def test_a_saga_that_was_started_is_pending_due_and_has_one_event(world: World):
    saga = begin_trip()

    assert (saga.status, saga.version, saga.generation, saga.definition_version) == ("PENDING", 1, 0, 1)
    assert saga.data == {"number": "T1", "wish": ""}
    assert saga.wake_at == pytest.approx(saga.created_at, abs=timedelta(seconds=1))
    assert saga.deadline_at - saga.created_at == pytest.approx(timedelta(minutes=10), abs=timedelta(seconds=1))
    assert moves(saga) == [("", "PENDING")]
    assert not saga.steps.exists()
    assert list(saga.locks.values_list("resource_type", "resource_id")) == [("trip", "T1")]


# --- what PostgreSQL itself refuses ---------------------------------------------------------------

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENDED: dict[str, Any] = {"wake_at": None, "ended_at": NOW}


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"status": "LOST"}, id="no status that is known"),
        pytest.param({"status": "RUNNING", "wake_at": None}, id="live and never looked at again"),
        pytest.param({"status": "RUNNING", "suspend_reason": "OPERATOR_PAUSE"}, id="suspended by its reason only"),
        pytest.param({"status": "SUSPENDED", "wake_at": None}, id="suspended for no reason"),
        pytest.param({"status": "COMPLETED", **ENDED, "ended_at": None}, id="ended at no time"),
        pytest.param({"status": "COMPLETED", **ENDED, "wake_at": NOW}, id="ended and due"),
        pytest.param({"status": "COMPENSATED", **ENDED, "waiting_on": {"kind": "timer"}}, id="ended and waiting"),
        pytest.param({"status": "ABANDONED", **ENDED, "suspend_reason": "OPERATOR_PAUSE"}, id="ended and suspended"),
    ],
)
def test_a_saga_does_not_wait_otherwise_than_its_status_says(world: World, row: dict[str, Any]):
    saga = begin_trip()
    before = snapshot(saga)

    with pytest.raises(IntegrityError, match="saga_waits_as_its_status_says"):
        SagaInstance.objects.filter(pk=saga.pk).update(**row)

    assert snapshot(saga) == before


@pytest.mark.parametrize(
    "row",
    [
        {"status": "RUNNING", "wake_at": None, "waiting_on": {"kind": "signal"}},
        {"status": "SUSPENDED", "wake_at": None, "suspend_reason": "OPERATOR_PAUSE"},
        {"status": "COMPLETED", **ENDED},
    ],
)
def test_a_saga_waits_as_its_status_says(world: World, row: dict[str, Any]):
    assert SagaInstance.objects.filter(pk=begin_trip().pk).update(**row) == 1


# --- a local step: one commit ---------------------------------------------------------------------


def test_a_local_step_and_its_progress_are_one_commit(world: World):
    saga = begin_trip()

    assert work(saga.pk) == Moved(saga.pk, due=True)

    saga.refresh_from_db()
    assert (saga.status, saga.version) == ("RUNNING", 2)
    assert statuses(saga) == {"reserve_seat": ("SUCCEEDED", "NOT_NEEDED")}
    assert step_of(saga, "reserve_seat").receipt == {"code": "seat-T1"}
    assert moves(saga, "action", "reserve_seat") == [("PENDING", "SUCCEEDED")]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT xmin::text) FROM ("
            " SELECT xmin FROM test_effect UNION ALL SELECT xmin FROM sagas_sagainstance"
            " UNION ALL SELECT xmin FROM sagas_sagastep UNION ALL SELECT xmin FROM sagas_stepattempt) AS written"
        )
        assert cursor.fetchone() == (1,), "all written by one transaction"


def test_the_attempt_of_a_local_step_is_written_when_it_has_ended(world: World):
    saga = run_trip()

    row = attempt(saga, "reserve_seat")
    assert (row.outcome, row.worker, row.idempotency_key) == ("DONE", WORKER, f"{saga.pk}:reserve_seat:action")
    assert (row.error_class, row.fingerprint, row.message, row.traceback) == ("", "", "", "")
    assert row.ended_at is not None


# --- a remote step: two commits -------------------------------------------------------------------


def test_the_commit_before_a_call_stores_the_intent_the_key_and_the_lease(world: World):
    saga = begin_trip()

    call = begin_call(saga)

    saga.refresh_from_db()
    step, row = step_of(saga, "book_flight"), attempt(saga, "book_flight")
    assert (step.action, step.token, step.action_attempts) == ("RUNNING", call.token, 1)
    assert call.token == saga.generation == 1
    assert (row.outcome, row.ended_at, row.generation) == ("", None, 1)
    assert row.idempotency_key == call.ctx.idempotency_key == f"{saga.pk}:book_flight:action"
    assert step.due_at - row.started_at == timedelta(seconds=2 + 10) == call.lease
    assert saga.wake_at == step.due_at
    assert world.calls["book_flight"] == 0


def test_the_commit_after_a_call_stores_its_receipt_and_ends_its_attempt(world: World):
    saga = begin_trip()
    call = begin_call(saga)

    record(call, call.make())

    saga.refresh_from_db()
    step, row = step_of(saga, "book_flight"), attempt(saga, "book_flight")
    assert (step.action, step.token, step.due_at, step.receipt) == ("SUCCEEDED", 0, None, {"code": "flight-0"})
    assert (row.outcome, row.generation) == ("DONE", 1)
    assert row.ended_at > row.started_at
    assert moves(saga, "action", "book_flight") == [("PENDING", "RUNNING"), ("RUNNING", "SUCCEEDED")]


def test_a_second_record_of_the_same_call_changes_nothing(world: World):
    saga = begin_trip()
    call = begin_call(saga)
    outcome = call.make()
    record(call, outcome)
    before = snapshot(saga)

    assert record(call, outcome) is None

    assert snapshot(saga) == before


# --- events ---------------------------------------------------------------------------------------

STATUSES = {"saga": SagaStatus, "action": ActionStatus, "compensation": CompensationStatus}


def test_every_change_of_a_status_has_exactly_one_event(world: World):
    world.raises("reserve_seat", Transient("busy"))
    world.raises("book_flight answer", Unknown("cut"))
    world.raises("pay", Refused("no_money", "not enough money"))
    world.raises("cancel_flight", Transient("busy"))
    world.raises("release_seat", KeyError("x"))

    saga = run_trip()

    stored = {("saga", ""): saga.status}
    for step in saga.steps.all():
        stored |= {("action", step.name): step.action, ("compensation", step.name): step.compensation}
    first = {"saga": "", "action": "PENDING", "compensation": "NOT_NEEDED"}
    for (what, step), status in stored.items():
        chain = moves(saga, what, step)
        begins = "SUCCEEDED" if step == "ask_for_trip" and what == "action" else first[what]
        assert [begins, *(after for _, after in chain)] == [*(before for before, _ in chain), status], "no gap"
        for before, after in chain:
            assert before != after
            if before:
                check_move(STATUSES[what](before), STATUSES[what](after))


def test_an_event_tells_who_and_why(world: World):
    world.raises("pay", Refused("no_money", "not enough money"))

    saga = run_trip()

    event = SagaEvent.objects.get(saga=saga, what="saga", after="COMPENSATING")
    assert (event.before, event.actor, event.why) == ("RUNNING", "engine", "not enough money")


def test_the_first_failure_survives_the_way_back(world: World):
    world.raises("pay", Refused("no_money", "not enough money"))
    world.raises("cancel_flight", Unknown("another thing"))

    saga = run_trip()

    assert saga.failure == {"step": "pay", "code": "no_money", "message": "not enough money"}


# --- economy --------------------------------------------------------------------------------------


def test_the_statements_of_a_step_are_few_and_counted(world: World):
    saga = begin_trip()
    with CaptureQueriesContext(
        connection,
    ) as local:
        work(saga.pk)
    work(saga.pk)
    with CaptureQueriesContext(connection) as before_call:
        call = work(saga.pk)
    outcome = call.make()
    with CaptureQueriesContext(connection) as after_call:
        record(call, outcome)

    # BEGIN, lock the saga, read its steps once there are any, the step's own statement where it has one, write, COMMIT.
    assert [len(queries) for queries in (local, before_call, after_call)] == [5, 5, 6]


def test_a_saga_that_is_not_due_costs_one_look(world: World):
    run()

    with CaptureQueriesContext(connection) as queries:
        assert work() is None

    assert len(queries) == 3, "BEGIN, the look, COMMIT"
