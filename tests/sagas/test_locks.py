"""Semantic locks: who holds, who waits in line, who takes over."""

from contextlib import suppress
from datetime import timedelta
from threading import Barrier, BrokenBarrierError, Event
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from sagas import locks, operations, store
from sagas.attempts import Call
from sagas.definition import Await, Lock, Pivot, Step
from sagas.driver import drain_due
from sagas.engine import Moved, record, work
from sagas.exceptions import LockTaken
from sagas.models import LockWaiter, SagaInstance, SemanticLock
from sagas.outcomes import Transient
from sagas.selectors import waiting_words
from sagas.services import OnConflict, guard, start, turn_back
from sagas.store import LoadedSaga
from tests.racing import race
from tests.sagas.conftest import begin as begin_saga
from tests.sagas.conftest import run
from tests.sagas.operating import ask
from tests.sagas.plans import Ctx, Transfer, TransferData, TripData, World, effects, inspection, settle, soon
from tests.sagas.test_signals import let_time_pass

FAR = Transient("not now", timedelta(hours=1))


def begin(
    number: str, source: str = "A", target: str = "B", on_conflict: OnConflict = OnConflict.WAIT, **words: timedelta
) -> SagaInstance:
    with transaction.atomic():
        data = TransferData(number, source, target)
        return start(Transfer, data, key=number, on_conflict=on_conflict, **words)


def held() -> dict[str, str]:
    """Who holds which account."""
    locks = SemanticLock.objects.select_related("saga")
    return {lock.resource_id: lock.saga.business_key for lock in locks}


def in_line() -> list[tuple[str, str]]:
    return [(w.resource_id, w.saga.business_key) for w in LockWaiter.objects.select_related("saga")]


def status(number: str) -> str:
    return str(SagaInstance.objects.get(business_key=number).status)


def test_the_second_waits_in_line_says_for_what_and_goes_on_when_the_first_ends(world: World):
    first = begin("T1")
    second = begin("T2")

    assert held() == {"A": "T1", "B": "T1"}
    assert in_line() == [("A", "T2")]
    assert second.status == "WAITING"
    assert waiting_words(second).startswith("Waits until account A is free, until ")

    drain_due()

    assert (status("T1"), status("T2")) == ("COMPLETED", "COMPLETED")
    assert effects("T2") == ["settled"]
    assert held() == {}
    assert in_line() == []
    assert first.ended_at is None


def test_who_rejects_is_not_stored_when_the_resource_is_held(world: World):
    begin("T1")

    with pytest.raises(LockTaken, match=r"account A is held by test\.transfer \(T1\) since"):
        begin("T2", on_conflict=OnConflict.REJECT)

    assert not SagaInstance.objects.filter(business_key="T2").exists()


def test_the_line_is_first_in_first_out(world: World):
    world.raises("move_money", FAR)
    begin("T1")
    drain_due()
    for number in ("T2", "T3", "T4"):
        begin(number)
    assert in_line() == [("A", "T2"), ("A", "T3"), ("A", "T4")]

    let_time_pass(SagaInstance.objects.get(business_key="T1"), hours=2)
    world.raises("move_money", FAR)
    world.script["move_money"].insert(0, lambda: None)
    drain_due()

    assert (status("T1"), status("T2"), status("T3")) == ("COMPLETED", "WAITING", "WAITING")
    assert held() == {"A": "T2", "B": "T2"}
    assert in_line() == [("A", "T3"), ("A", "T4")]


def test_who_has_waited_too_long_turns_back_and_leaves_the_line(world: World):
    world.raises("move_money", FAR)
    begin("T1")
    drain_due()
    second = begin("T2", patience=timedelta(0))

    SagaInstance.objects.filter(pk=second.pk).update(wake_at=second.created_at)
    drain_due()

    second.refresh_from_db()
    assert second.status == "COMPENSATED"
    assert second.failure["code"] == "lock_timeout"
    assert effects("T2") == ["forgotten"]
    assert in_line() == []
    assert held() == {"A": "T1", "B": "T1"}


def test_two_that_need_the_same_accounts_the_other_way_round_never_wait_for_each_other(world: World):
    for number in range(20):
        if number % 2:
            begin(f"T{number}", "A", "B")
        else:
            begin(f"T{number}", "B", "A")

    results = race([drain_due, drain_due])
    assert not [result for result in results if isinstance(result, Exception)]
    drain_due()

    assert SagaInstance.objects.filter(status="COMPLETED").count() == 20
    assert held() == {}


def test_who_aborts_the_holder_turns_it_back_and_takes_over(world: World):
    world.raises("move_money", FAR)
    begin("T1")
    drain_due()
    assert status("T1") == "WAITING"

    begin("T2", on_conflict=OnConflict.ABORT_HOLDER)
    drain_due()

    holder = SagaInstance.objects.get(business_key="T1")
    assert holder.status == "COMPENSATED"
    assert holder.failure["code"] == "cancelled"
    assert status("T2") == "COMPLETED"
    assert effects("T1") == ["forgotten"]


def test_who_aborts_turns_back_every_holder_of_what_it_needs(world: World):
    world.raises("move_money", FAR, FAR)
    begin("T1", source="A", target="C")
    begin("T2", source="B", target="D")
    drain_due()

    begin("T3", source="A", target="B", on_conflict=OnConflict.ABORT_HOLDER)
    drain_due()

    assert [status(number) for number in ("T1", "T2", "T3")] == ["COMPENSATED", "COMPENSATED", "COMPLETED"]


def test_who_aborts_is_rejected_if_any_holder_is_past_its_pivot_and_none_is_turned_back(world: World):
    world.raises("move_money", FAR)
    begin("T1", source="A", target="C")
    drain_due()
    world.raises("tell_owner", FAR)
    begin("T2", source="D", target="B")
    drain_due()

    with pytest.raises(LockTaken, match="T2"):
        begin("T3", source="A", target="B", on_conflict=OnConflict.ABORT_HOLDER)

    assert [status(number) for number in ("T1", "T2")] == ["WAITING", "WAITING"]
    assert not SagaInstance.objects.get(business_key="T1").backward


def test_two_that_abort_the_same_holders_do_not_wait_for_each_other(world: World, monkeypatch: pytest.MonkeyPatch):
    world.raises("move_money", FAR, FAR)
    begin("T1", source="A", target="C")
    begin("T2", source="B", target="D")
    drain_due()
    lock, both_hold_one = store.lock, Barrier(2)

    def lock_and_linger(saga_id: UUID) -> LoadedSaga | None:
        saga = lock(saga_id)
        with suppress(BrokenBarrierError):
            both_hold_one.wait(timeout=0.5)
        return saga

    monkeypatch.setattr(store, "lock", lock_and_linger)
    results = race(
        [
            lambda: begin("T3", source="A", target="B", on_conflict=OnConflict.ABORT_HOLDER),
            lambda: begin("T4", source="B", target="C", on_conflict=OnConflict.ABORT_HOLDER),
        ]
    )
    monkeypatch.undo()
    drain_due()

    assert [type(result) for result in results] == [SagaInstance, SagaInstance]
    assert [status(f"T{n}") for n in (1, 2, 3, 4)] == ["COMPENSATED", "COMPENSATED", "COMPLETED", "COMPLETED"]


def test_a_holder_past_its_pivot_is_not_aborted(world: World):
    world.raises("tell_owner", FAR)
    begin("T1")
    drain_due()
    assert effects("T1") == ["settled"]

    with pytest.raises(LockTaken):
        begin("T2", target="B", source="C", on_conflict=OnConflict.ABORT_HOLDER)

    assert not SagaInstance.objects.filter(business_key="T2").exists()
    assert status("T1") == "WAITING"


def test_a_lock_with_release_after_goes_on_when_that_step_is_done(world: World):
    world.raises("tell_owner", FAR)
    begin("T1", source="A", target="B")
    begin("T2", source="A", target="C")

    drain_due()

    assert status("T1") == "WAITING"
    assert status("T2") == "COMPLETED"
    assert held() == {"B": "T1"}


def test_of_two_locks_on_one_resource_it_is_held_as_long_as_the_last_of_them(world: World):
    world.raises("tell_owner", FAR)
    begin("T1", source="A", target="A")

    drain_due()

    assert (status("T1"), effects("T1"), held()) == ("WAITING", ["settled"], {"A": "T1"})
    let_time_pass(SagaInstance.objects.get(), hours=2)
    drain_due()
    assert (status("T1"), held()) == ("COMPLETED", {})


def test_a_lock_with_release_after_goes_on_when_that_step_is_skipped(world: World, define, operator: User):
    def give_receipt(ctx: Ctx) -> None:
        raise ValueError("the printer is gone")

    lock = Lock[TripData]("till", lambda data: data.number, release_after=give_receipt)
    steps = (Pivot(settle), Step(give_receipt, skippable=True, retry=soon), Await(inspection))
    saga = begin_saga(define(*steps, locks=(lock,)))
    run()
    assert held() == {"T1": "T1"}

    operations.skip(saga.pk, ask(operator, saga), step="give_receipt")
    run()

    assert (status("T1"), held()) == ("WAITING", {})


def test_turning_back_is_decided_under_the_row_lock_and_happens_once(world: World):
    world.raises("move_money", FAR)
    begin("T1")
    drain_due()

    assert turn_back(Transfer, "T1", why="changed my mind")
    assert turn_back(Transfer, "T1", why="again")
    drain_due()

    assert status("T1") == "COMPENSATED"
    assert not turn_back(Transfer, "T1", why="too late")
    assert not turn_back(Transfer, "T9", why="nobody")


def test_who_gets_in_line_while_the_holder_ends_is_not_forgotten(world: World):
    for number in range(15):
        begin(f"H{number}", source=f"S{number}", target=f"R{number}")
        results = race([drain_due, lambda n=number: begin(f"W{n}", source=f"S{n}", target=f"Q{n}")])
        assert not [result for result in results if isinstance(result, Exception)]
        drain_due()

    assert SagaInstance.objects.exclude(status="COMPLETED").count() == 0
    assert in_line() == []


def about_to_hand_over() -> tuple[SagaInstance, SagaInstance]:
    """The next commit of the first saga hands a lock to the second, which was turned back and ends with its own."""
    first, second = begin("T1"), begin("T2", "A", "C")
    call = work(first.pk)
    assert isinstance(call, Call)
    record(call, call.make())
    assert turn_back(Transfer, "T2", why="changed my mind")
    return first, second


def test_a_lock_is_not_handed_to_a_saga_that_is_ending(world: World, monkeypatch):
    first, second = about_to_hand_over()
    ending, going_on, release = Event(), Event(), locks.release

    def release_and_dawdle(saga_ids, only=None):
        release(saga_ids, only)
        if second.pk in saga_ids:
            ending.set()
            going_on.wait(0.2)

    def hand_over() -> Moved | Call | None:
        assert ending.wait(30)
        return work(first.pk)

    monkeypatch.setattr(locks, "release", release_and_dawdle)

    results = race([lambda: work(second.pk), hand_over])

    assert results == [Moved(second.pk, due=False), Moved(first.pk, due=True)]
    assert (status("T2"), held(), in_line()) == ("COMPENSATED", {"B": "T1"}, [])


def test_a_saga_that_ends_gives_back_what_is_handed_to_it_in_that_moment(world: World, monkeypatch):
    first, second = about_to_hand_over()
    ending, handed_over = Event(), Event()
    release, before_leaving_line = locks.release, locks.before_leaving_line

    def release_while_the_other_ends(saga_ids, only=None):
        if first.pk not in saga_ids:
            return release(saga_ids, only)
        assert ending.wait(30)
        release(saga_ids, only)
        handed_over.set()
        return Event().wait(0.1)

    def end_after_the_hand_over(saga_ids):
        ending.set()
        assert handed_over.wait(30)
        before_leaving_line(saga_ids)

    monkeypatch.setattr(locks, "release", release_while_the_other_ends)
    monkeypatch.setattr(locks, "before_leaving_line", end_after_the_hand_over)

    results = race([lambda: work(second.pk), lambda: work(first.pk)])

    assert results == [Moved(second.pk, due=False), Moved(first.pk, due=True)]
    assert (status("T2"), held(), in_line()) == ("COMPENSATED", {"B": "T1"}, [])


def test_who_hands_a_lock_over_does_not_wait_for_the_next_holder_who_waits_for_it(world: World, monkeypatch):
    first, second = begin("T1"), begin("T2", "A", "C")
    call = work(first.pk)
    assert isinstance(call, Call)
    record(call, call.make())
    looking, handed_over = Event(), Event()
    release, take_or_wait = locks.release, locks.take_or_wait

    def release_while_the_next_one_looks(saga_ids, only=None):
        assert looking.wait(30)
        release(saga_ids, only)
        handed_over.set()
        Event().wait(0.1)

    def look_after_the_hand_over(*looked_for):
        looking.set()
        assert handed_over.wait(30)
        return take_or_wait(*looked_for)

    monkeypatch.setattr(locks, "release", release_while_the_next_one_looks)
    monkeypatch.setattr(locks, "take_or_wait", look_after_the_hand_over)

    handing, taking = race([lambda: work(first.pk), lambda: work(second.pk)])

    assert handing == Moved(first.pk, due=True)
    assert isinstance(taking, Call)
    assert (held(), in_line()) == ({"A": "T2", "B": "T1", "C": "T2"}, [])


@pytest.mark.parametrize("on_conflict", OnConflict)
def test_a_guarded_writer_may_start_the_saga_that_holds_from_then_on(world: World, on_conflict: OnConflict):
    with transaction.atomic(), guard("account", "A"):
        begin("T1", source="A", target="B", on_conflict=on_conflict)

    assert (held(), in_line()) == ({"A": "T1", "B": "T1"}, [])
    drain_due()
    assert (status("T1"), held()) == ("COMPLETED", {})


def test_a_guarded_writer_is_told_who_holds_and_a_saga_waits_for_a_guarded_writer(world: World):
    begin("T1")

    with pytest.raises(LockTaken, match=r"held by test\.transfer"), transaction.atomic(), guard("account", "A"):
        pass
    with transaction.atomic(), guard("account", "Z"):
        assert SemanticLock.objects.get(resource_id="Z").saga is None

    assert held() == {"A": "T1", "B": "T1"}
