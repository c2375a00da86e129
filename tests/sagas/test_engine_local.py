"""A local step is one commit: its effect and the saga's progress stand or fall together."""

from time import sleep

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from sagas import engine
from sagas.definition import Pivot, Step, seconds
from sagas.engine import Moved, work
from sagas.models import SagaInstance, SagaStep, StepAttempt
from sagas.outcomes import Refused, Transient, Unknown
from tests.sagas.conftest import begin_trip, run_saga, run_trip
from tests.sagas.plans import World, effect, effects, soon
from tests.sagas.rows import moves, outcomes, snapshot, step_of
from tests.sagas.together import commits_counted, execute, rollbacks_counted


def write_then(accident):
    """A step that writes its effect and then has an accident."""

    def note(ctx) -> None:
        effect(ctx, "noted")
        accident()

    return note


def throw(error):
    def accident():
        raise error

    return accident


def fail_after_a_statement(error):
    """An accident after what may be a write, which only the end of the transaction takes back."""

    def accident():
        execute("SELECT 1")
        raise error

    return accident


# --- what raises is rolled back -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [
        (Refused("no", "no"), "REFUSED", "COMPENSATED"),
        (Transient("busy"), "TRANSIENT", "COMPENSATED"),
        (Unknown("cut"), "TRANSIENT", "COMPENSATED"),
        (KeyError("x"), "BUG", "SUSPENDED"),
        (OperationalError("the server closed the connection"), "TRANSIENT", "COMPENSATED"),
    ],
)
def test_what_a_step_wrote_before_it_raised_is_rolled_back(world: World, define, error, outcome, status):
    saga = run_saga(define(Step(write_then(throw(error)), reads_only=True, retry=soon)))

    assert effects("T1") == []
    assert set(outcomes(saga, "note")) == {outcome}
    assert saga.status == status
    assert step_of(saga, "note").action == "FAILED"


def test_a_step_that_raises_and_then_works_has_one_effect(world: World):
    world.raises("reserve_seat", Transient("busy"), KeyError("x"))

    saga = run_trip()

    assert outcomes(saga, "reserve_seat") == ["TRANSIENT", "BUG", "DONE"]
    assert effects("T1") == ["hotel", "paid", "seat", "ticket flight-0"]


def test_the_rollback_and_its_record_are_two_transactions_and_the_pause_is_stored(world: World):
    world.does("reserve_seat", fail_after_a_statement(Transient("busy")))
    saga = begin_trip()

    with commits_counted() as commits, rollbacks_counted() as rollbacks:
        assert work(saga.pk) == Moved(saga.pk, due=False)

    assert (rollbacks(), commits()) == (1, 1)

    saga.refresh_from_db()
    assert (saga.status, saga.version) == ("WAITING", 2)
    assert saga.waiting_on["why"] == "busy"
    assert step_of(saga, "reserve_seat").due_at == saga.wake_at
    assert moves(saga) == [("", "PENDING"), ("PENDING", "WAITING")]


def test_somebody_who_moves_the_saga_between_rollback_and_record_wins(world: World, monkeypatch):
    """The failed attempt goes unrecorded, and the step is tried again."""
    world.does("reserve_seat", fail_after_a_statement(Transient("busy")))
    saga = begin_trip()
    record_raised = engine._record_raised

    def too_late(raised):
        SagaInstance.objects.filter(pk=saga.pk).update(version=7)
        return record_raised(raised)

    monkeypatch.setattr(engine, "_record_raised", too_late)

    assert work(saga.pk) is None

    assert not StepAttempt.objects.exists()
    assert not SagaStep.objects.exists()
    monkeypatch.undo()
    assert work(saga.pk) == Moved(saga.pk, due=True)


# --- what the rows refuse -------------------------------------------------------------------------


@pytest.fixture
def deferred(world: World):
    """A table whose constraint speaks up at the commit only."""
    execute("CREATE TABLE test_parent (id int PRIMARY KEY)")
    execute("CREATE TABLE test_child (parent int REFERENCES test_parent DEFERRABLE INITIALLY DEFERRED)")
    yield
    execute("DROP TABLE test_child, test_parent")


def test_a_constraint_that_fails_at_the_commit_undoes_effect_and_progress(world: World, deferred, define):
    def orphan(ctx) -> None:
        effect(ctx, "noted")
        execute("INSERT INTO test_child VALUES (1)")

    saga = run_saga(define(Step(orphan, reads_only=True, retry=soon)))

    assert effects("T1") == []
    assert not saga.steps.exists()
    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "CONTRACT_VIOLATION")
    assert saga.attention.startswith("IntegrityError: insert or update on table")
    assert saga.wake_at is None


def test_a_violated_constraint_inside_the_step_is_its_bug(world: World, define):
    def note_twice(ctx) -> None:
        effect(ctx, "noted")
        effect(ctx, "noted")

    saga = run_saga(define(Step(note_twice, reads_only=True, retry=soon)))

    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")
    assert outcomes(saga, "note_twice") == ["BUG"] * 3
    assert effects("T1") == []


def test_a_step_that_swallows_a_database_error_does_not_count_as_done(world: World, define):
    def swallow(ctx) -> None:
        effect(ctx, "noted")
        try:
            effect(ctx, "noted")
        except IntegrityError:
            return

    saga = run_saga(define(Step(swallow, reads_only=True, retry=soon)))

    assert saga.status == "SUSPENDED"
    assert effects("T1") == []


def test_a_step_that_asks_for_a_rollback_does_not_count_as_done(world: World, define):
    def roll_back(ctx) -> None:
        effect(ctx, "noted")
        transaction.set_rollback(True)

    saga = run_saga(define(Step(roll_back, reads_only=True, retry=soon)))

    assert saga.status == "SUSPENDED"
    assert effects("T1") == []


# --- no commit of its own -------------------------------------------------------------------------


def commit() -> None:
    transaction.commit()


def nest_a_durable_block() -> None:
    with transaction.atomic(durable=True):
        pass


def switch_autocommit_on() -> None:
    transaction.set_autocommit(True)


@pytest.mark.parametrize("trick", [commit, nest_a_durable_block, switch_autocommit_on])
def test_a_step_cannot_commit_on_its_own(world: World, define, trick):
    saga = run_saga(define(Step(write_then(trick), reads_only=True, retry=soon)))

    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")
    assert outcomes(saga, "note") == ["BUG"] * 3
    assert effects("T1") == []


def test_the_engine_refuses_to_work_inside_a_transaction(world: World):
    saga = begin_trip()
    before = snapshot(saga)

    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        work(saga.pk)

    assert snapshot(saga) == before


# --- time -----------------------------------------------------------------------------------------


def test_a_local_step_that_takes_too_long_is_rolled_back(world: World, define):
    def dawdle(ctx) -> None:
        effect(ctx, "noted")
        sleep(0.05)

    saga = run_saga(define(Step(dawdle, reads_only=True, retry=soon, timeout=seconds(0.01))))

    assert outcomes(saga, "dawdle") == ["TRANSIENT"] * 3
    assert saga.failure["message"] == "dawdle took longer than its time-out of 0.01 s"
    assert effects("T1") == []


def test_a_step_gets_its_time_limit_its_attempt_and_its_key(world: World, define):
    seen = []

    def look(ctx) -> None:
        seen.append((ctx.step, ctx.attempt, ctx.timeout, ctx.key, ctx.idempotency_key, ctx.failure))
        if len(seen) < 2:
            raise Transient("busy")

    saga = run_saga(define(Step(look, reads_only=True, retry=soon, timeout=seconds(3))))

    key = f"{saga.pk}:look:action"
    assert seen == [("look", 1, seconds(3), "T1", key, None), ("look", 2, seconds(3), "T1", key, None)]


def test_a_compensation_is_told_why_the_saga_goes_backward(world: World, define):
    told = []

    def note(ctx) -> None: ...

    def undo_note(ctx, receipt) -> None:
        told.append(ctx.failure)

    def refuse(ctx) -> None:
        raise Refused("no_money", "not enough money")

    run_saga(define(Step(note, compensation=undo_note), Pivot(refuse)))

    assert [(f.step, f.code, f.message) for f in told] == [("refuse", "no_money", "not enough money")]


# --- the weather ----------------------------------------------------------------------------------


def cut_the_connection() -> None:
    execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_a_connection_lost_in_a_step_is_the_weather(world: World):
    world.does("reserve_seat", cut_the_connection)
    saga = begin_trip()

    work_through_weather(saga)

    assert outcomes(saga, "reserve_seat")[-1] == "DONE"
    assert "BUG" not in outcomes(saga, "reserve_seat")
    assert effects("T1").count("seat") == 1
    assert world.calls["reserve_seat"] == 2


def work_through_weather(saga):
    """As the driver does: after bad weather look again."""
    for _ in range(4):
        try:
            work(saga.pk)
        except engine.WEATHER:
            connection.close()
        SagaStep.objects.filter(saga=saga, token=0).update(due_at=None)


def test_a_deadlock_in_a_step_is_the_weather(world: World):
    world.raises("reserve_seat", OperationalError("deadlock detected"))

    saga = run_trip()

    assert outcomes(saga, "reserve_seat") == ["TRANSIENT", "DONE"]
    assert saga.status == "COMPLETED"


def test_a_saga_begun_with_its_lock_does_not_run_before_its_transaction_commits(world: World):
    with transaction.atomic():
        begin_trip()
        assert SagaInstance.objects.get().status == "PENDING"
        transaction.set_rollback(True)

    assert not SagaInstance.objects.exists()
    assert work() is None
