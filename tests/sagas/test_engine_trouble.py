"""Sagas that cannot go on: poison, rows that refuse, code that does not know the plan. None of them stops another."""

import pytest
from django.db import connection

from sagas import turns
from sagas.definition import Begin, Pivot, Step, registry
from sagas.driver import drain_due
from sagas.engine import MAX_STALLS, Moved, record, work
from sagas.models import SagaInstance
from sagas.outcomes import Refused
from tests.sagas.conftest import begin, begin_call, begin_trip, run
from tests.sagas.plans import World, ask_for_trip, effect, effects, forget_trip, soon
from tests.sagas.rows import end_lease, make_due, outcomes, snapshot, statuses

# --- poison ---------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for the end of the process in the middle of a step."""


def take_up_late(saga):
    """A worker claims the saga after it was due for a minute, and is killed by it."""
    make_due(saga, since="1 minute")
    assert work() == Moved(saga.pk, due=True)
    with pytest.raises(Killed):
        work(saga.pk)


def test_a_saga_that_kills_its_workers_is_suspended_in_the_end(world: World, define):
    def kill(ctx) -> None:
        effect(ctx, "noted")
        raise Killed

    saga = begin(define(Step(kill, reads_only=True)))

    for stalls in range(1, MAX_STALLS + 1):
        take_up_late(saga)
        saga.refresh_from_db()
        assert (saga.status, saga.stalls) == ("PENDING", stalls)
    make_due(saga, since="1 minute")
    assert work() == Moved(saga.pk, due=False)

    saga.refresh_from_db()
    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")
    assert saga.attention == "taken up 5 times without an outcome; its step may be killing the worker"
    assert effects("T1") == []


def test_a_saga_that_kills_its_workers_steps_back_longer_each_time(world: World, define):
    def kill(ctx) -> None:
        raise Killed

    saga = begin(define(Step(kill, reads_only=True)))
    pauses = []
    for _ in range(MAX_STALLS):
        take_up_late(saga)
        with connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM wake_at - clock_timestamp()) FROM sagas_sagainstance")
            pauses.append(round(float(cursor.fetchone()[0])))

    assert pauses == [1, 2, 4, 8, 16]


def test_a_saga_taken_up_late_because_nobody_was_there_simply_runs(world: World):
    saga = begin_trip()
    make_due(saga, since="1 day")

    drain_due()

    saga.refresh_from_db()
    assert (saga.status, saga.stalls) == ("COMPLETED", 0)


def test_progress_forgives_a_stall(world: World, define):
    def first(ctx) -> None: ...
    def second(ctx) -> None:
        if not world.calls["second"]:
            world.calls["second"] += 1
            raise Killed

    saga = begin(define(Step(first, reads_only=True), Step(second, reads_only=True)))
    make_due(saga, since="1 minute")
    work()
    work(saga.pk)

    saga.refresh_from_db()
    assert saga.stalls == 0


def test_a_poison_saga_does_not_keep_others_waiting(world: World, define):
    def kill(ctx) -> None:
        raise Killed

    poison = begin(define(Step(kill, reads_only=True)), "poison")
    take_up_late(poison)
    trip = begin_trip()

    drain_due()

    trip.refresh_from_db()
    assert trip.status == "COMPLETED"


# --- what the engine cannot do is set aside ---------------------------------------------------------


def test_a_saga_whose_data_no_longer_fits_is_set_aside_and_others_go_on(world: World):
    broken, trip = begin_trip("broken"), begin_trip()
    SagaInstance.objects.filter(pk=broken.pk).update(data={"no number": 1})

    run()

    broken.refresh_from_db()
    trip.refresh_from_db()
    assert trip.status == "COMPLETED"
    assert broken.status == "SUSPENDED"
    assert broken.locks.count() == 1, "it keeps its locks"


def test_a_failure_that_cannot_be_recorded_sets_the_saga_aside_and_others_go_on(world: World, monkeypatch):
    """What goes wrong while a rolled-back step is written down must not stop the worker."""
    world.raises("reserve_seat", KeyError("x"))
    broken = begin_trip("broken")
    make_due(broken, since="1 s")
    trip = begin_trip()
    finish = turns.finish

    def fail(saga, task, outcome):
        if saga.key == "broken":
            raise ZeroDivisionError("the rows refuse")
        return finish(saga, task, outcome)

    monkeypatch.setattr(turns, "finish", fail)
    run()

    broken.refresh_from_db()
    trip.refresh_from_db()
    assert trip.status == "COMPLETED"
    assert (broken.status, broken.suspend_reason) == ("SUSPENDED", "CONTRACT_VIOLATION")
    assert broken.attention == "ZeroDivisionError: the rows refuse"


def test_what_cannot_start_although_it_is_due_is_set_aside_and_does_not_spin(world: World, monkeypatch):
    saga = begin_trip()
    drain_due()
    monkeypatch.setattr("sagas.machine.next_task", lambda *_: None)
    stuck = begin_trip("T2")

    assert work(stuck.pk) == Moved(stuck.pk, due=False)

    stuck.refresh_from_db()
    assert (stuck.status, stuck.suspend_reason) == ("SUSPENDED", "CONTRACT_VIOLATION")
    assert stuck.attention == "AssertionError: it is due, but nothing of it can start"
    saga.refresh_from_db()
    assert saga.status == "COMPLETED"


def test_fifty_bad_sagas_and_a_good_one(world: World, define):
    def break_contract(ctx) -> None:
        raise Refused("no", "no")

    def note(ctx) -> None: ...

    bad = define(Pivot(note), Step(break_contract))
    for number in range(50):
        begin(bad, f"bad {number}")
    good = begin_trip()

    run()

    good.refresh_from_db()
    assert good.status == "COMPLETED"
    assert SagaInstance.objects.filter(suspend_reason="CONTRACT_VIOLATION").count() == 50


# --- another version of the code --------------------------------------------------------------------


def one(ctx) -> None:
    effect(ctx, "one")


def two(ctx) -> None:
    effect(ctx, "two")


def three(ctx) -> None:
    effect(ctx, "three")


def undo(ctx, receipt) -> None: ...


ONE, TWO, THREE = (Step(f, compensation=undo, retry=soon) for f in (one, two, three))


def begun(define, *steps, done=1):
    """A saga of version 1 that has so many steps behind it, and whose version the code has forgotten."""
    saga = begin(define(*steps))
    for _ in range(done):
        work(saga.pk)
    del registry["test.own", 1]
    return saga


def test_a_saga_that_no_code_knows_is_suspended_and_waits(world: World, no_deploy: None, define):
    saga = begun(define, ONE, TWO)

    assert work() == Moved(saga.pk, due=False)

    saga.refresh_from_db()
    assert (saga.status, saga.suspend_reason, saga.wake_at) == ("SUSPENDED", "DEFINITION_MISMATCH", None)
    assert saga.attention == "the code here has no plan that continues it"
    assert statuses(saga) == {"one": ("SUCCEEDED", "NOT_NEEDED")}, "nothing was skipped or guessed"
    before = snapshot(saga)
    assert work() is None
    assert snapshot(saga) == before


@pytest.mark.parametrize(
    ("steps", "goes_on"),
    [
        ((ONE, TWO, THREE), True),
        ((ONE, THREE), True),
        ((ONE,), True),
        ((TWO, ONE), False),
        ((THREE, ONE, TWO), False),
        ((Pivot(one), Step(two)), False),
        ((TWO,), False),
    ],
    ids=[
        "longer",
        "another step to come",
        "nothing to come",
        "another order",
        "one before",
        "another kind",
        "without it",
    ],
)
def test_newer_code_goes_on_only_if_it_began_the_same_way(world: World, define, steps, goes_on):
    saga = begun(define, ONE, TWO)
    define(*steps, version=2)

    run()

    saga.refresh_from_db()
    assert saga.status == ("COMPLETED" if goes_on else "SUSPENDED")
    assert saga.suspend_reason == ("" if goes_on else "DEFINITION_MISMATCH")
    assert outcomes(saga, "one") == ["DONE"]
    assert saga.definition_version == 1


def test_newer_code_with_a_step_where_the_saga_began_does_not_go_on(world: World, define):
    """The step that begins a saga has no row: a new step in its place would run after its followers."""
    saga = begun(define, Begin(ask_for_trip, compensation=forget_trip), ONE, TWO)
    define(THREE, ONE, TWO, version=2)

    run()

    saga.refresh_from_db()
    assert saga.suspend_reason == "DEFINITION_MISMATCH"
    assert effects("T1") == ["one"]


def test_a_saga_runs_on_under_the_version_it_began_with(world: World, define):
    old = define(ONE, TWO, version=1)
    define(ONE, THREE, version=2)
    saga = begin(old)

    run()

    saga.refresh_from_db()
    assert (saga.status, effects("T1")) == ("COMPLETED", ["one", "two"])


def test_a_call_of_code_that_is_gone_is_settled_when_the_code_is_back(world: World):
    """The answer of a worker whose code no longer knows the plan is lost; the lease brings the saga back."""
    saga = begin_trip()
    call = begin_call(saga)
    plan = registry.pop(("test.trip", 1))
    before = snapshot(saga)
    assert record(call, call.make()) is None
    assert snapshot(saga) == before

    registry["test.trip", 1] = plan
    end_lease(saga)
    run()

    saga.refresh_from_db()
    assert saga.status == "COMPLETED"
    assert world.calls["book_flight"] == 1
