"""Two at the same thing: real connections, real threads, a barrier."""

import threading
from collections import Counter

import pytest
import redis
from django.db import OperationalError, connection, transaction

from sagas import engine, jobs, turns
from sagas.definition import Parallel, Pivot, RemoteStep, Step, remote
from sagas.driver import drain_due
from sagas.engine import Moved, record, work
from sagas.exceptions import LockTaken
from sagas.models import SagaEvent, SagaInstance, SemanticLock, StepAttempt
from sagas.services import guard, start
from sagas.sweeper import sweep
from tests.racing import race
from tests.sagas.conftest import begin, begin_call, begin_trip, run
from tests.sagas.plans import Trip, TripData, World, effect, effects
from tests.sagas.rows import held, snapshot
from tests.sagas.together import execute

# --- starting -------------------------------------------------------------------------------------


def test_a_second_start_with_the_same_key_returns_the_first_saga_unchanged(world: World):
    first = begin_trip()
    run()
    before = snapshot(first)

    second = begin_trip()

    assert second.pk == first.pk
    assert second.status == "COMPLETED"
    assert snapshot(first) == before


def test_many_starts_with_the_same_key_at_once_are_one_saga(world: World):
    sagas = race([begin_trip] * 8)

    assert {saga.pk for saga in sagas} == {SagaInstance.objects.get().pk}
    assert SagaEvent.objects.count() == 1
    assert SemanticLock.objects.count() == 1


def test_a_start_whose_lock_is_taken_leaves_nothing_behind_even_if_its_caller_goes_on(world: World):
    holder = begin_trip("T1")

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO test_effect VALUES ('order', 'written before')")
        with pytest.raises(LockTaken) as caught:
            start(Trip, TripData("T1"), key="another key")

    assert (caught.value.definition, caught.value.key) == ("test.trip", "T1")
    assert list(SagaInstance.objects.values_list("pk", flat=True)) == [holder.pk]
    assert effects("order") == []


def test_of_two_sagas_that_want_one_resource_at_once_one_is_told_who_has_it(world: World):
    def begin_named(key):
        with transaction.atomic():
            return start(Trip, TripData("T1"), key=key)

    results = race([lambda: begin_named("one"), lambda: begin_named("two")])

    (taken,) = [result for result in results if isinstance(result, LockTaken)]
    (saga,) = [result for result in results if isinstance(result, SagaInstance)]
    assert taken.key == saga.business_key
    assert SagaInstance.objects.count() == 1


def test_the_locks_of_a_saga_are_free_in_the_commit_that_ends_it(world: World):
    begin_trip()
    run()

    with guard("trip", "T1"):
        pass
    assert not SemanticLock.objects.exists()


def test_a_start_waits_for_a_guarded_writer(world: World):
    writing, started = threading.Event(), []

    def write():
        with guard("trip", "T1"):
            writing.set()
            started.append(SagaInstance.objects.count())
            threading.Event().wait(0.1)
            started.append(SagaInstance.objects.count())

    def start_meanwhile():
        assert writing.wait(timeout=30)
        begin_trip()
        started.append(SagaInstance.objects.count())

    assert race([write, start_meanwhile]) == [None, None]

    assert started == [0, 0, 1]


def test_a_guarded_writer_that_fails_leaves_no_lock_behind(world: World):
    with pytest.raises(ZeroDivisionError), guard("trip", "T1"):
        raise ZeroDivisionError

    assert begin_trip().status == "PENDING"


def test_starting_needs_no_redis(world: World, settings, caplog):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"  # nothing listens there
    jobs._queue.cache_clear()

    saga = begin_trip()

    assert "no hint could be sent" in caplog.text
    assert sweep(), "the sweeper drives it itself"
    jobs._queue.cache_clear()
    saga.refresh_from_db()
    assert saga.status == "COMPLETED"


def test_whatever_goes_wrong_with_a_hint_the_start_stands(world: World, monkeypatch):
    def fail():
        raise redis.ResponseError("OOM command not allowed")

    monkeypatch.setattr(jobs, "_queue", fail)

    saga = begin_trip()

    assert SagaInstance.objects.filter(pk=saga.pk).exists()


# --- a row that somebody else holds -----------------------------------------------------------------


def test_who_looks_for_work_passes_a_saga_that_somebody_is_at(world: World):
    saga, other = begin_trip("T1"), begin_trip("T2")

    with held(saga):
        assert work(saga.pk) is None
        assert work() == Moved(other.pk, due=True)
        drain_due()

    other.refresh_from_db()
    saga.refresh_from_db()
    assert (other.status, saga.status) == ("COMPLETED", "PENDING")
    drain_due()
    saga.refresh_from_db()
    assert saga.status == "COMPLETED"


def test_a_record_that_cannot_get_the_row_is_weather_and_is_tried_again(world: World, short_patience):
    saga = begin_trip()
    call = begin_call(saga)
    outcome = call.make()
    before = snapshot(saga)

    with held(saga), pytest.raises(OperationalError):
        record(call, outcome)
    assert snapshot(saga) == before

    assert record(call, outcome) == Moved(saga.pk, due=True)


def test_a_failed_step_that_cannot_be_recorded_runs_again(world: World, short_patience, monkeypatch):
    saga = begin_trip()
    # After a statement, only the end of the transaction takes back what was written.
    world.does("reserve_seat", lambda: execute("SELEKT 1"))
    record_raised = engine._record_raised

    def meanwhile(raised):
        with held(saga):
            return record_raised(raised)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_record_raised", meanwhile)
        with pytest.raises(OperationalError):
            work(saga.pk)
    assert not StepAttempt.objects.exists()

    assert work(saga.pk) == Moved(saga.pk, due=True)
    assert effects("T1") == ["seat"]


def test_those_that_claim_at_once_take_different_sagas(world: World, monkeypatch):
    sagas = {begin_trip(f"T{number}").pk for number in range(6)}
    all_have_claimed = threading.Barrier(6, timeout=30)
    next_turn = turns.next_turn

    def wait_for_the_others(saga):
        all_have_claimed.wait()
        return next_turn(saga)

    monkeypatch.setattr(turns, "next_turn", wait_for_the_others)
    moved = race([work] * 6)

    assert {result.saga_id for result in moved} == sagas


def test_two_that_take_up_the_same_saga_at_once_do_one_step(world: World):
    saga = begin_trip()

    moved = race([lambda: work(saga.pk)] * 4)

    done = [result for result in moved if result is not None]
    assert 1 <= len(done) <= 4
    assert StepAttempt.objects.filter(step="reserve_seat").count() == 1
    assert effects("T1").count("seat") == 1


# --- the join -------------------------------------------------------------------------------------


def test_of_two_members_that_end_at_the_same_instant_one_joins_and_the_next_step_runs_once(world: World, define):
    @remote()
    def left(ctx, request) -> None: ...

    @remote()
    def right(ctx, request) -> None: ...

    def after(ctx) -> None:
        effect(ctx, "joined")

    plan = define(Parallel(RemoteStep(left, reads_only=True), RemoteStep(right, reads_only=True)), Pivot(after))
    for number in range(25):
        saga = begin(plan, f"T{number}")
        calls = [begin_call(saga), begin_call(saga)]

        moved = race([lambda call=call: record(call, call.make()) for call in calls])

        assert Counter(result.due for result in moved) == {True: 1, False: 1}, "one of them goes on"
        run()
        saga.refresh_from_db()
        assert (saga.status, effects(f"T{number}")) == ("COMPLETED", ["joined"])


def test_two_answers_for_one_attempt_at_once_are_one(world: World):
    saga = begin_trip()
    call = begin_call(saga)
    outcome = call.make()

    moved = race([lambda: record(call, outcome)] * 4)

    assert sorted(result is None for result in moved) == [False, True, True, True]
    assert effects("T1").count("ticket flight-0") == 1


# --- two drivers ----------------------------------------------------------------------------------


def test_two_drivers_and_fifty_sagas_and_nothing_twice(world: World):
    for number in range(50):
        begin_trip(f"T{number}")

    assert race([drain_due, drain_due]) == [False, False]

    assert set(SagaInstance.objects.values_list("status", flat=True)) == {"COMPLETED"}
    assert all(len(effects(f"T{number}")) == 4 for number in range(50))
    assert len(world.booked) == 50
    assert Counter(StepAttempt.objects.values_list("step", "outcome")) == {
        (step, "DONE"): 50 for step in ("reserve_seat", "reserve_hotel", "book_flight", "pay", "send_papers")
    }


def test_two_sweepers_without_redis_drive_each_saga_once(world: World, monkeypatch):
    monkeypatch.setattr("sagas.sweeper.hint", lambda *, wait: False)
    for number in range(10):
        begin_trip(f"T{number}")

    assert True in (came := race([sweep, sweep]))
    assert set(came) <= {True, False}, "neither failed"
    run()

    assert set(SagaInstance.objects.values_list("status", flat=True)) == {"COMPLETED"}
    assert StepAttempt.objects.filter(step="pay").count() == 10


def test_a_group_with_a_local_and_a_remote_member_may_be_driven_by_two(world: World, define):
    """The call is one worker's; the local member meanwhile another's."""

    @remote()
    def call_out(ctx, request) -> None: ...

    def note(ctx) -> None:
        effect(ctx, "noted")

    saga = begin(define(Parallel(RemoteStep(call_out, reads_only=True), Step(note, reads_only=True))))
    call = begin_call(saga)
    assert call.due

    race([lambda: work(), lambda: record(call, call.make())])
    run()

    saga.refresh_from_db()
    assert (saga.status, effects("T1")) == ("COMPLETED", ["noted"])
