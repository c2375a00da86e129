"""`verify` itself: a saga that is broken on purpose goes red, in words that say what is wrong."""

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.utils.timezone import now

from sagas.definition import Await, Begin, NoCompensation, Pivot, RemoteStep, Saga, Step, minutes, remote, seconds
from sagas.models import SagaInstance
from sagas.services import signal as signal_to
from sagas.testing import Proof, verify
from sagas.testing.workers import Child
from tests.sagas import plans
from tests.sagas.conftest import begin
from tests.sagas.outside import SharedWorld
from tests.sagas.plans import Ctx, Parcel, TripData, effect, soon

Define = Callable[..., type[Saga[TripData]]]
Red = Callable[..., str]


@pytest.fixture
def red(shared: SharedWorld, define: Define) -> Red:
    """Verifies a plan of these steps until the first case that goes wrong, and returns what is said of it."""

    def found(*steps: Any, disturbance: str = "kill", way: str = "forward", **words: Any) -> str:
        plan = define(Begin(plans.ask_for_trip, compensation=plans.forget_trip), *steps, name="test.wrong")
        with pytest.raises(AssertionError) as raised:
            verify(
                plan,
                start=lambda: begin(plan),
                world=shared,
                disturbances=[disturbance],
                ways=[way],
                keep_going=False,
                **words,
            )
        return str(raised.value)

    return found


def pay_at_the_desk(ctx: Ctx) -> None:
    effect(ctx, "payment")


PAY = Pivot(pay_at_the_desk, retry=soon)


def verified(shared: SharedWorld, define: Define, disturbance: str, *steps: Any) -> Proof:
    plan = define(Begin(plans.ask_for_trip, compensation=plans.forget_trip), *steps, name="test.small")
    return verify(plan, start=lambda: begin(plan), world=shared, disturbances=[disturbance], ways=["forward"])


# --- what it notices --------------------------------------------------------------------------------


def release_nothing(ctx: Ctx, receipt: plans.Ticket | None) -> None:
    """Forgets the seat."""


def test_a_compensation_that_forgets_a_write_is_named(red: Red):
    said = red(Step(plans.reserve_seat, compensation=release_nothing), PAY, way="back")

    assert "the saga is COMPENSATED, but something is left of reserve_seat" in said


@remote()
def buy_anew(ctx: Ctx, request: None) -> None:
    """As `plans.send_papers`, but with a key of its own for each attempt."""
    plans.world.sent.add(f"{ctx.saga_id}:buy_anew:action:{ctx.attempt}")


def test_a_call_without_the_idempotency_key_has_taken_effect_twice(red: Red):
    said = red(PAY, RemoteStep(buy_anew, retry=soon, timeout=seconds(2)), disturbance="done, lost")

    assert "done, lost at call:buy_anew:action:after (way forward): buy_anew:action took effect 2 times" in said


def post_at_once(ctx: Ctx) -> None:
    """An effect outside, in a step that may be rolled back and run again."""
    plans.world.sent.add(f"{ctx.saga_id}:post_at_once:action:{os.getpid()}")


def test_an_effect_outside_of_the_transaction_of_its_step_has_happened_twice(red: Red):
    said = red(Pivot(post_at_once, retry=soon))

    assert (
        "kill at step:post_at_once:action:before-commit (way forward): post_at_once:action took effect 2 times" in said
    )


def test_what_only_a_recovery_passes_is_broken_as_well(shared: SharedWorld, define: Define):
    flight = RemoteStep(
        plans.book_flight, compensation=plans.cancel_flight, check=plans.find_flight, retry=soon, timeout=seconds(2)
    )

    proof = verified(shared, define, "kill", flight, PAY)

    in_recoveries = [case for case in proof.cases if case.pair]

    assert [case.disturbance for case in in_recoveries] == [
        f"kill, then kill at {place}"
        for place in (
            "lease-over:entry",
            "lease-over:before-commit",
            "lease-over:after-commit",
            "call:book_flight:check:before",
            "call:book_flight:check:after",
        )
    ]


def test_a_signal_that_comes_after_the_end_asks_for_attention_and_is_no_zombies_change(
    shared: SharedWorld, define: Define
):
    scan = Await(plans.parcel_back, within=minutes(60), no_compensation=NoCompensation.ACCEPT)
    plan = define(Begin(plans.ask_for_return, reads_only=True), scan, PAY, name="test.scanned")

    def begin_and_scan() -> None:
        begin(plan)
        signal_to(plan, "T1", plans.parcel_back, Parcel(300), dedup_id="scan-1")

    proof = verify(plan, start=begin_and_scan, world=shared, disturbances=["cancel"], ways=["forward"])

    assert [case.end for case in proof.cases if str(case.boundary) == "start:test.scanned:after-commit"] == [
        "COMPENSATED"
    ]


def test_a_machine_that_stood_still_at_a_healthy_saga_is_no_violation(shared: SharedWorld, define: Define):
    plan = define(Begin(plans.ask_for_trip, compensation=plans.forget_trip), PAY, name="test.late")

    def start_late() -> SagaInstance:
        saga = begin(plan)
        SagaInstance.objects.update(wake_at=now() - timedelta(minutes=1))
        return saga

    proof = verify(plan, start=start_late, world=shared, disturbances=["kill"], ways=["forward"])

    assert {case.end for case in proof.cases} == {"COMPLETED"}


def test_a_refusal_before_the_pivot_that_does_not_turn_back_to_the_end_is_named(red: Red):
    def lose_the_key(ctx: Ctx, receipt: plans.Ticket) -> None:
        raise RuntimeError("a bug")

    said = red(Step(plans.reserve_seat, compensation=lose_the_key), PAY, disturbance="refused")

    assert "it ended SUSPENDED, expected COMPENSATED" in said


def test_a_refusal_past_the_pivot_waits_for_a_person(shared: SharedWorld, define: Define):
    seat = Step(plans.reserve_seat, compensation=plans.release_seat)
    papers = RemoteStep(plans.send_papers, retry=soon, timeout=seconds(2))

    proof = verified(shared, define, "refused", seat, PAY, papers)

    assert [(str(case.boundary), case.end) for case in proof.cases] == [
        ("step:reserve_seat:action:entry", "COMPENSATED"),
        ("step:pay_at_the_desk:action:entry", "COMPENSATED"),
        ("call:send_papers:action:before", "SUSPENDED"),
    ]


def out_of_order(ctx: Ctx) -> None:
    raise RuntimeError("a bug")


def test_a_saga_that_breaks_by_itself_is_not_worth_breaking(red: Red):
    said = red(Pivot(out_of_order, retry=soon))

    assert said == "test.wrong: the undisturbed run went wrong: it is SUSPENDED: RETRIES_EXHAUSTED"


def test_a_trouble_that_strikes_nowhere_proves_nothing(red: Red):
    said = red(PAY, disturbance="done, lost")

    assert said == "test.wrong: none of these disturbances strikes anywhere, so nothing is proved."


# --- what it says of itself -------------------------------------------------------------------------


def test_a_step_that_no_way_passes_is_listed(shared: SharedWorld, define: Define):
    seat = Step(plans.reserve_seat, compensation=plans.release_seat)

    proof = verified(shared, define, "hint lost", seat, PAY)

    assert proof.never_passed == ["ask_for_trip compensation", "reserve_seat compensation"]
    assert "no way passes reserve_seat compensation" in str(proof)


def test_who_turns_back_may_wait_for_a_person_where_a_step_asks_for_one(shared: SharedWorld, define: Define):
    by_hand = Step(plans.reserve_seat, no_compensation=NoCompensation.SUSPEND)

    proof = verified(shared, define, "deadline", by_hand, PAY)

    assert "SUSPENDED NO_COMPENSATION" in proof.ends("deadline")


def test_a_trouble_that_there_is_not_is_refused(shared: SharedWorld, define: Define):
    with pytest.raises(ValueError, match="verify knows no disturbance \\['flood'\\]"):
        verified(shared, define, "flood", PAY)


def test_it_breaks_nothing_outside_of_tests(shared: SharedWorld, define: Define, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(mail, "outbox")

    with pytest.raises(ImproperlyConfigured, match="use them in tests or with DEBUG only"):
        verified(shared, define, "kill", PAY)


def test_whoever_interrupts_it_leaves_no_frozen_worker(
    shared: SharedWorld, define: Define, monkeypatch: pytest.MonkeyPatch
):
    """Ctrl-C while a worker is frozen at its boundary."""
    frozen: list[int] = []

    def interrupted(child: Child) -> None:
        frozen.append(child.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(Child, "go_on", interrupted)

    with pytest.raises(KeyboardInterrupt):
        verified(shared, define, "double", PAY)

    assert len(frozen) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(frozen[0], signal.SIGCONT)
