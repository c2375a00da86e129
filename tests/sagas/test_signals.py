"""Waiting: for a signal, for a person, for a time."""

from datetime import timedelta
from threading import Barrier, Thread
from types import SimpleNamespace
from uuid import uuid4

import msgspec
import pytest
from django.contrib.auth.models import User
from django.db import close_old_connections, connection, transaction

from sagas import operations, turns
from sagas.audit import audit
from sagas.definition import Await, LateSignal, Pivot, minutes, registry
from sagas.driver import drain_due
from sagas.exceptions import StaleVersion, UnknownSignal
from sagas.models import SagaInstance, Signal
from sagas.outcomes import Transient
from sagas.selectors import waiting_words
from sagas.services import signal, start
from sagas.testing import play, refused
from tests.sagas.conftest import begin
from tests.sagas.operators import staff
from tests.sagas.plans import (
    Ctx,
    Parcel,
    Return,
    TripData,
    World,
    cool_off,
    effects,
    give_money_back,
    inspection,
    parcel_back,
)


def begin_return(key: str = "R1") -> SagaInstance:
    with transaction.atomic():
        return start(Return, TripData(key), key=key)


def tell_parcel(key: str = "R1", weight: int = 3, dedup_id: str = "scan-1") -> bool:
    return signal(Return, key, parcel_back, Parcel(weight), dedup_id=dedup_id)


def tell_inspection(verdict: str = "good", key: str = "R1", dedup_id: str = "form-1") -> bool:
    return signal(Return, key, inspection, verdict, dedup_id=dedup_id)


def let_time_pass(saga: SagaInstance, **amount: int) -> None:
    """Move everything the saga has stored about time into the past."""
    with connection.cursor() as cursor:
        for table, column in (("sagainstance", "wake_at"), ("sagainstance", "deadline_at"), ("sagastep", "due_at")):
            key = "id" if table == "sagainstance" else "saga_id"
            cursor.execute(
                f"UPDATE sagas_{table} SET {column} = {column} - %s WHERE {key} = %s", [timedelta(**amount), saga.pk]
            )


def status_of(saga: SagaInstance) -> tuple[str, str]:
    saga.refresh_from_db()
    return saga.status, (saga.waiting_on or {}).get("kind", "")


def test_in_memory_the_signals_that_came_let_the_plan_go_on_and_time_passes_by_itself():
    played = play(Return, signals=[parcel_back, inspection])

    assert played.status == "COMPLETED"
    assert played.trace == ["parcel_back done", "inspection done", "cool_off done", "give_money_back done"]


def test_in_memory_a_signal_that_never_comes_turns_the_saga_back_when_its_time_is_over():
    played = play(Return)

    assert played.status == "COMPENSATED"
    assert played.state.failure == {
        "step": "parcel_back",
        "code": "timed_out",
        "message": "parcel_back did not come in time",
    }


def test_in_memory_a_person_who_is_late_is_waited_for_with_attention():
    played = play(Return, signals=[parcel_back])

    assert played.status == "WAITING"
    assert played.state.attention == "inspection is overdue"
    assert played.state.waiting_on is not None
    assert played.state.waiting_on["kind"] == "human"


def test_in_memory_a_verdict_can_refuse():
    played = play(Return, {inspection: refused("broken")}, signals=[parcel_back, inspection])

    assert played.status == "COMPENSATED"
    assert played.action(give_money_back) == "PENDING"
    assert played.action(cool_off) == "PENDING"


def test_a_saga_waits_for_its_signal_and_says_so(world: World):
    saga = begin_return()

    drain_due()

    assert status_of(saga) == ("WAITING", "signal")
    assert waiting_words(saga).startswith("Waits for parcel_back, until ")


def test_each_signal_takes_the_saga_one_step_further_to_its_end(world: World):
    saga = begin_return()
    drain_due()

    assert tell_parcel()
    drain_due()
    assert status_of(saga) == ("WAITING", "human")
    assert tell_inspection()
    drain_due()
    assert status_of(saga) == ("WAITING", "timer")
    let_time_pass(saga, minutes=6)
    drain_due()

    assert status_of(saga) == ("COMPLETED", "")
    assert effects("R1") == ["cooled off", "parcel 3", "refunded for 3"]
    assert not Signal.objects.filter(consumed_at=None).exists()


def test_signals_that_come_before_the_saga_does_are_kept_for_it(world: World):
    assert tell_inspection()
    assert tell_parcel()

    saga = begin_return()
    drain_due()

    assert status_of(saga) == ("WAITING", "timer")
    assert effects("R1") == ["parcel 3"]


def test_a_signal_that_is_sent_twice_counts_once(world: World):
    begin_return()
    drain_due()

    assert tell_parcel()
    assert not tell_parcel(weight=9)
    drain_due()
    assert not tell_parcel()

    assert effects("R1") == ["parcel 3"]
    assert Signal.objects.count() == 1


def test_of_two_signals_with_one_name_the_first_is_consumed(world: World):
    tell_parcel(weight=5, dedup_id="first")
    tell_parcel(weight=7, dedup_id="second")

    begin_return()
    drain_due()

    assert effects("R1") == ["parcel 5"]
    assert Signal.objects.get(dedup_id="second").consumed_at is None


def test_a_payload_that_does_not_fit_is_refused_with_its_field_and_not_stored(world: World):
    saga = begin_return()
    drain_due()

    with pytest.raises(msgspec.ValidationError, match=r"\$\.weight"):
        signal(Return, "R1", parcel_back, {"weight": "heavy"}, dedup_id="x")
    with pytest.raises(UnknownSignal):
        signal(Return, "R1", give_money_back, None, dedup_id="x")

    assert not Signal.objects.exists()
    assert status_of(saga) == ("WAITING", "signal")


def test_when_the_time_is_over_the_saga_turns_back_and_a_later_signal_raises_attention(world: World):
    saga = begin_return()
    drain_due()
    let_time_pass(saga, minutes=61)
    drain_due()
    assert status_of(saga) == ("COMPENSATED", "")

    assert tell_parcel()

    saga.refresh_from_db()
    assert saga.attention == "the signal parcel_back came after the end"
    assert Signal.objects.get().late == "ATTENTION"
    assert effects("R1") == []


def test_a_late_signal_adds_to_what_a_person_has_to_see_and_whoever_saw_less_reviews_nothing(
    world: World, operator: User
):
    saga = begin_return()
    drain_due()
    saga.refresh_from_db()
    operations.abandon(saga.pk, operations.Request(uuid4(), operator, "gone", saga.version))
    saga.refresh_from_db()
    seen = saga.version, saga.attention

    assert tell_parcel(dedup_id="first")
    assert tell_parcel(dedup_id="second")

    with pytest.raises(StaleVersion):
        operations.review(saga.pk, operations.Request(uuid4(), operator, "seen", seen[0]))
    saga.refresh_from_db()
    assert saga.attention == f"{seen[1]}; the signal parcel_back came after the end"
    assert saga.status == "ABANDONED"


def test_a_signal_that_is_stored_before_the_time_is_taken_up_wins(world: World):
    saga = begin_return()
    drain_due()
    let_time_pass(saga, minutes=61)

    tell_parcel()
    drain_due()

    assert status_of(saga) == ("WAITING", "human")
    assert effects("R1") == ["parcel 3"]


def test_a_person_who_is_late_raises_attention_and_is_still_waited_for(world: World):
    saga = begin_return()
    tell_parcel()
    drain_due()
    let_time_pass(saga, minutes=11)
    drain_due()
    saga.refresh_from_db()
    assert saga.attention == "inspection is overdue"

    tell_inspection()
    drain_due()

    assert status_of(saga) == ("WAITING", "timer")
    assert saga.attention == ""


@pytest.mark.parametrize("accident", [RuntimeError("the shelf is full"), Transient("not now")])
def test_a_signal_whose_step_fails_is_not_consumed_and_is_used_again(
    world: World, accident: Exception, monkeypatch: pytest.MonkeyPatch
):
    # Else the pause may be none at all.
    monkeypatch.setattr(turns, "random", SimpleNamespace(random=lambda: 1.0))
    world.raises("parcel_back", accident)
    saga = begin_return()
    tell_parcel()
    drain_due()
    assert status_of(saga) == ("WAITING", "backoff")
    assert Signal.objects.get().consumed_at is None

    let_time_pass(saga, minutes=2)
    drain_due()

    assert status_of(saga) == ("WAITING", "human")
    assert effects("R1") == ["parcel 3"]


def test_a_signal_that_its_step_refuses_is_consumed_once_in_the_commit_that_turns_the_saga_back(world: World):
    saga = begin_return()
    tell_parcel()
    tell_inspection("broken", dedup_id="first")
    drain_due()

    assert status_of(saga) == ("COMPENSATED", "")
    assert saga.failure["code"] == "broken"
    signal = Signal.objects.get(dedup_id="first")
    assert signal.consumed_at is not None
    assert saga.attempts.get(step="inspection").outcome == "REFUSED"
    assert outcome_of_audit() == ([], [])


def test_of_two_signals_only_the_refused_one_is_consumed(world: World):
    saga = begin_return()
    tell_parcel()
    tell_inspection("broken", dedup_id="first")
    tell_inspection("good", dedup_id="second")
    drain_due()

    assert status_of(saga) == ("COMPENSATED", "")
    assert list(Signal.objects.filter(consumed_at=None).values_list("dedup_id", flat=True)) == ["second"]
    violations, [orphan] = outcome_of_audit()
    assert violations == []
    assert str(saga.pk) in orphan


def test_past_the_pivot_a_refused_signal_is_consumed_and_a_retry_waits_for_another(world: World, define):
    plan = define(Pivot(give_way), Await(inspection))
    saga = begin(plan, "R1")
    drain_due()
    signal(plan, "R1", inspection, "broken", dedup_id="first")
    drain_due()
    saga.refresh_from_db()
    assert (saga.suspend_reason, Signal.objects.filter(consumed_at=None).count()) == ("CONTRACT_VIOLATION", 0)

    operations.retry(saga.pk, operations.Request(uuid4(), staff("olga", "retry_saga"), "another look", saga.version))
    drain_due()
    assert status_of(saga) == ("WAITING", "signal")

    signal(plan, "R1", inspection, "good", dedup_id="second")
    drain_due()
    assert status_of(saga) == ("COMPLETED", "")
    assert outcome_of_audit() == ([], [])


def give_way(ctx) -> None:
    """Stands for a pivot without effect."""


def weigh(ctx: Ctx, weight: int) -> int:
    return weight


def count(ctx: Ctx, pieces: str) -> str:
    return pieces


def test_a_signal_is_judged_by_the_version_its_saga_runs_on(world: World, define):
    old = define(Await(weigh, reads_only=True), Pivot(give_way))
    saga = begin(old, "R1")
    drain_due()
    new = define(Await(count, reads_only=True), Pivot(give_way), version=2)

    with pytest.raises(UnknownSignal):
        signal(new, "R1", count, "three", dedup_id="x")
    assert not Signal.objects.exists()
    assert signal(old, "R1", weigh, 3, dedup_id="y")
    drain_due()

    assert status_of(saga) == ("COMPLETED", "")
    assert saga.steps.get(name="weigh").receipt == 3


def test_the_payload_of_a_signal_is_the_one_that_the_version_of_its_saga_takes(world: World, define):
    old = define(Await(weigh, reads_only=True), Pivot(give_way))
    saga = begin(old, "R1")
    drain_due()

    def in_words(ctx: Ctx, weight: str) -> str:
        return weight

    in_words.__name__ = "weigh"
    new = define(Await(in_words, reads_only=True), Pivot(give_way), version=2)

    with pytest.raises(msgspec.ValidationError):
        signal(new, "R1", weigh, "three", dedup_id="x")
    assert signal(new, "R1", weigh, 3, dedup_id="x")
    assert signal(new, "R2", weigh, "three", dedup_id="x"), "there is no saga yet"
    drain_due()

    assert status_of(saga) == ("COMPLETED", "")


def test_a_late_signal_is_handled_as_the_version_of_its_saga_says(world: World, define):
    old = define(Await(weigh, within=minutes(1), reads_only=True), Pivot(give_way), late_signal=LateSignal.IGNORE)
    saga = begin(old, "R1")
    drain_due()
    let_time_pass(saga, minutes=2)
    drain_due()
    define(Await(weigh, reads_only=True), Pivot(give_way), version=2)

    assert signal(old, "R1", weigh, 3, dedup_id="x")

    assert status_of(saga) == ("COMPENSATED", "")
    assert (saga.attention, Signal.objects.get().late) == ("", "IGNORE")


def test_a_signal_that_code_without_the_plan_of_its_saga_stores_is_consumed_by_code_that_has_it(world: World, define):
    """As a webhook that reaches a web process of before the deploy."""
    define(Await(weigh, reads_only=True), Pivot(give_way))
    new = define(Await(weigh, reads_only=True), Pivot(give_way), version=2)
    saga = begin(new, "R1")
    drain_due()

    plan = registry.pop(("test.own", 2))
    assert signal(new, "R1", weigh, 3, dedup_id="x")
    assert outcome_of_audit()[0] == []
    registry["test.own", 2] = plan
    drain_due()

    assert status_of(saga) == ("COMPLETED", "")


def test_a_signal_for_a_saga_that_no_worker_knows_is_consumed_when_its_plan_is_back_and_it_is_resumed(
    world: World, no_deploy: None, define
):
    define(Await(weigh, reads_only=True), Pivot(give_way))
    new = define(Await(weigh, reads_only=True), Pivot(give_way), version=2)
    saga = begin(new, "R1")
    drain_due()

    plan = registry.pop(("test.own", 2))
    assert signal(new, "R1", weigh, 3, dedup_id="x")
    drain_due()
    saga.refresh_from_db()
    assert (saga.suspend_reason, Signal.objects.get().consumed_at) == ("DEFINITION_MISMATCH", None)
    registry["test.own", 2] = plan
    operations.resume(saga.pk, operations.Request(uuid4(), staff("olga", "pause_saga"), "deployed", saga.version))
    drain_due()

    assert status_of(saga) == ("COMPLETED", "")
    assert outcome_of_audit() == ([], [])


def test_a_signal_for_another_step_does_not_wake_a_saga_whose_plan_is_gone(world: World, define):
    waits = Await(weigh, reads_only=True), Await(count, reads_only=True), Pivot(give_way)
    define(*waits)
    new = define(*waits, version=2)
    saga = begin(new, "R1")
    drain_due()

    plan = registry.pop(("test.own", 2))
    assert signal(new, "R1", count, "three", dedup_id="x")
    drain_due()
    assert status_of(saga) == ("WAITING", "signal")
    registry["test.own", 2] = plan
    assert signal(new, "R1", weigh, 3, dedup_id="y")
    drain_due()

    assert status_of(saga) == ("COMPLETED", "")


def outcome_of_audit() -> tuple[list[str], list[str]]:
    """What the auditor finds wrong, and its orphans, each as a sentence with its saga."""
    report = audit()
    return [f"{v} {v.saga}" for v in report.violations], [f"{o} {o.saga}" for o in report.orphans]


@pytest.mark.parametrize("round_", range(10))
def test_a_signal_and_the_start_of_its_saga_never_miss_each_other(world: World, round_: int):
    barrier = Barrier(2)

    def run(work: object) -> None:
        barrier.wait()
        try:
            work()  # type: ignore[operator]
        finally:
            close_old_connections()
            connection.close()

    threads = [Thread(target=run, args=(work,)) for work in (begin_return, tell_parcel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drain_due()

    assert effects("R1") == ["parcel 3"]
