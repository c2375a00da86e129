"""Leases and deadlines of remote steps: dead workers, zombies, and time that is up."""

import logging

import pytest

from sagas.definition import Pivot, Step, remote, seconds
from sagas.driver import drain_due
from sagas.engine import Moved, record, work
from sagas.outcomes import Refused, Transient
from tests.sagas.conftest import begin, begin_call, begin_trip, run
from tests.sagas.plans import World, effect, effects
from tests.sagas.rows import end_backoff, end_lease, moves, outcomes, pass_deadline, snapshot, step_of

# --- leases and zombies ---------------------------------------------------------------------------


def test_a_dead_worker_is_noticed_when_its_lease_is_over(world: World):
    saga = begin_trip()
    begin_call(saga)
    end_lease(saga)

    run()

    saga.refresh_from_db()
    assert saga.status == "COMPLETED"
    assert outcomes(saga, "book_flight") == ["LEASE_OVER", "DONE"]
    assert ("RUNNING", "UNKNOWN") in moves(saga, "action", "book_flight")
    assert (world.calls["find_flight"], world.calls["book_flight"]) == (1, 1), "asked first, since nobody knew"


def test_a_lease_that_lasts_keeps_others_away(world: World):
    saga = begin_trip()
    call = begin_call(saga)
    before = snapshot(saga)

    assert work() is None
    assert work(saga.pk) == Moved(saga.pk, due=False)

    assert snapshot(saga) == before
    assert record(call, call.make()) == Moved(saga.pk, due=True)


@pytest.mark.parametrize("moment", ["lease closed", "asked again", "saga ended"])
def test_a_zombies_late_record_misses(world: World, moment, caplog):
    saga = begin_trip()
    zombie = begin_call(saga)
    late = zombie.make()
    end_lease(saga)
    work(saga.pk)
    if moment != "lease closed":
        end_backoff(saga)
        begin_call(saga)
    if moment == "saga ended":
        end_lease(saga)
        run()
    before = snapshot(saga)

    with caplog.at_level(logging.WARNING):
        assert record(zombie, late) is None

    assert snapshot(saga) == before
    assert "a late outcome of book_flight missed saga" in caplog.text
    assert "ticket flight-0" not in effects("T1") or moment == "saga ended"


def test_a_late_answer_counts_as_long_as_nobody_has_closed_the_lease(world: World):
    saga = begin_trip()
    call = begin_call(saga)
    end_lease(saga)

    assert record(call, call.make()) == Moved(saga.pk, due=True)

    assert outcomes(saga, "book_flight") == ["DONE"]


def test_a_compensation_whose_worker_died_is_run_again_with_the_same_key(world: World):
    world.raises("pay", Refused("no", "no"))
    saga = begin_trip()
    booking = begin_call(saga)
    record(booking, booking.make())
    begin_call(saga)
    end_lease(saga)

    run()

    saga.refresh_from_db()
    assert saga.status == "COMPENSATED"
    assert outcomes(saga, "book_flight", "compensation") == ["LEASE_OVER", "DONE"]
    keys = saga.attempts.filter(step="book_flight", side="compensation").values_list("idempotency_key", flat=True)
    assert set(keys) == {f"{saga.pk}:book_flight:compensation"}


# --- the deadline ---------------------------------------------------------------------------------


def test_a_deadline_before_the_pivot_turns_back(world: World):
    world.raises("reserve_seat", Transient("busy", seconds(600)))
    saga = begin_trip()
    drain_due()
    pass_deadline(saga)

    run()

    saga.refresh_from_db()
    assert (saga.status, saga.failure["code"]) == ("COMPENSATED", "deadline")
    assert effects("T1") == ["forgotten"]


def test_a_deadline_during_a_call_waits_for_its_answer_and_undoes_it(world: World):
    saga = begin_trip()
    call = begin_call(saga)
    pass_deadline(saga)

    work(saga.pk)
    saga.refresh_from_db()
    assert (saga.status, step_of(saga, "book_flight").compensation) == ("COMPENSATING", "NOT_NEEDED")
    record(call, call.make())
    run()

    saga.refresh_from_db()
    assert saga.status == "COMPENSATED"
    assert world.cancelled == set(world.booked)
    assert len(world.cancelled) == 1


def test_a_deadline_while_the_pivot_is_under_way_lets_it_decide(world: World, define):
    @remote()
    def charge(ctx, request) -> None: ...

    def deliver(ctx) -> None:
        effect(ctx, "delivered")

    saga = begin(define(Pivot(charge), Step(deliver), deadline=seconds(600)))
    call = begin_call(saga)
    pass_deadline(saga)
    work(saga.pk)

    record(call, call.make())
    run()

    saga.refresh_from_db()
    assert (saga.status, saga.backward, effects("T1")) == ("COMPLETED", False, ["delivered"])


def test_a_deadline_after_the_pivot_raises_attention_only(world: World):
    world.raises("send_papers", Transient("busy", seconds(600)))
    saga = begin_trip()
    drain_due()
    pass_deadline(saga)

    work(saga.pk)

    saga.refresh_from_db()
    assert saga.attention == "the deadline passed after the point of no return"
    assert (saga.status, saga.backward) == ("WAITING", False)


def test_a_saga_without_a_deadline_has_none(world: World, define):
    def note(ctx) -> None: ...

    assert begin(define(Step(note, reads_only=True))).deadline_at is None
