"""Every plan in memory: every step refused, lost and failing, every compensation failing, every moment of a cancel.

What has to come of each is worked out here from the plan alone, by the rules, and compared.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby

import pytest

from sagas.definition import Begin
from sagas.states import Side
from sagas.testing import always, bug, done, lease_over, play, refused, transient, unknown
from shop import checkout_steps as shop
from shop.cancellation import CancelOrder
from shop.checkout import Checkout
from shop.returning import ReturnOrder
from tests.sagas.plans import Trip

PLANS = [Checkout, Trip, CancelOrder, ReturnOrder]


def cases(wanted=lambda step: True, *, saga_too=lambda saga: True):
    """Every step of every plan that runs, as test cases."""
    return [
        pytest.param(saga, step, id=f"{saga.__name__}-{step.name}")
        for saga in PLANS
        for step in saga.plan.steps
        if not step.begins and wanted(step) and saga_too(saga)
    ]


def is_remote(step):
    return step.is_remote(Side.ACTION)


def is_undone(step):
    return step.spec.compensation is not None


def turns_back(step):
    """Whether a failure of this step lets the saga go backward."""
    return step.kind != "RETRIABLE"


def run(saga, script=None, **words):
    return play(saga, script, signals=[s.spec.action for s in saga.plan.steps if s.awaits], **words)


def places(names_and_places):
    """The names, as one sorted list a place: members of a group have no order among themselves."""
    return [sorted(name for name, _ in group) for _, group in groupby(names_and_places, key=lambda pair: pair[1])]


def undone(played):
    """The compensations that were run, place by place, each once even if it was tried again."""
    by_name = {s.spec.compensation.__name__: s.place for s in played.plan.steps if is_undone(s)}
    names = [line.split()[0] for line in played.trace]
    return places((name, by_name[name]) for name in dict.fromkeys(names) if name in by_name)


def done_before(step, plan, *, pauses=False):
    """The steps that are done when ``step`` comes out: those of the places before, and of its own group those
    that were started. Beside a call, or in a pause, all of the group are."""
    all_started = pauses or is_remote(step)
    group = [s for s in plan.steps if s.place == step.place and (s.position < step.position or all_started)]
    return [*(s for s in plan.steps if s.place < step.place), *(s for s in group if s != step)]


def to_undo(steps):
    """The compensations of these steps in reverse order, place by place."""
    last_first = sorted((s for s in steps if is_undone(s)), key=lambda s: -s.place)
    return places((s.spec.compensation.__name__, s.place) for s in last_first)


def patience_of(step):
    """How long a step's whole budget lasts with the longest pauses."""
    retry = step.spec.retry
    return sum((retry.delay(failures, 1.0) for failures in range(1, retry.attempts)), timedelta())


def why_given_up(step, plan, code):
    """Either the budget is spent, or the deadline passes before that; a wait for an outcome of the pivot has none."""
    return "deadline" if plan.deadline is not None and patience_of(step) >= plan.deadline else code


def attempts(played, function):
    return [line for line in played.trace if line.split()[0] == function.__name__]


# --- the sunny day --------------------------------------------------------------------------------


@pytest.mark.parametrize("saga", PLANS)
def test_a_plan_without_an_accident_is_completed_and_nothing_is_undone(saga):
    played = run(saga)

    assert played.status == "COMPLETED"
    assert sorted(played.trace) == sorted(f"{step.name} done" for step in saga.plan.steps if not step.begins)
    assert undone(played) == []


@pytest.mark.parametrize("saga", PLANS)
def test_a_plan_begins_with_the_transaction_that_starts_it(saga):
    assert isinstance(saga.plan.steps[0].spec, Begin)


# --- every step fails -----------------------------------------------------------------------------


@pytest.mark.parametrize(("saga", "step"), cases(turns_back))
def test_a_step_refused_up_to_the_pivot_undoes_what_was_done_and_not_itself(saga, step):
    played = run(saga, {step.spec.action: refused("no", "because")})

    assert played.status == "COMPENSATED"
    assert undone(played) == to_undo(done_before(step, saga.plan))
    assert played.action(step.spec.action) == "FAILED"
    assert played.compensation(step.spec.action) == "NOT_NEEDED"
    assert played.state.failure == {"step": step.name, "code": "no", "message": "because"}


@pytest.mark.parametrize(("saga", "step"), cases(lambda step: not turns_back(step)))
def test_a_step_refused_after_the_pivot_waits_for_a_person(saga, step):
    played = run(saga, {step.spec.action: refused()})

    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "CONTRACT_VIOLATION")
    assert undone(played) == []


@pytest.mark.parametrize("lost", [unknown(), lease_over(), bug(definite=False)], ids=["unknown", "lease over", "bug"])
@pytest.mark.parametrize(("saga", "step"), cases(is_remote))
def test_a_step_whose_answer_is_lost_is_asked_again_and_the_saga_completed(saga, step, lost):
    played = run(saga, {step.spec.action: lost})

    assert played.status == "COMPLETED"
    assert attempts(played, step.spec.action) == [f"{step.name} {lost.kind.lower()}", f"{step.name} done"]
    assert undone(played) == []


@pytest.mark.parametrize(("saga", "step"), cases(lambda step: is_remote(step) and step.kind == "COMPENSATABLE"))
def test_a_step_lost_for_ever_before_the_pivot_is_undone_first(saga, step):
    played = run(saga, {step.spec.action: always(unknown("cut"))})

    assert played.status == "COMPENSATED"
    assert played.action(step.spec.action) == "UNKNOWN"
    assert played.compensation(step.spec.action) == "SUCCEEDED"
    assert undone(played) == to_undo([*done_before(step, saga.plan), step])
    assert played.state.failure["code"] == why_given_up(step, saga.plan, "unknown")


@pytest.mark.parametrize(("saga", "step"), cases(lambda step: is_remote(step) and step.kind != "COMPENSATABLE"))
def test_a_step_lost_for_ever_from_the_pivot_on_waits_for_a_person(saga, step):
    played = run(saga, {step.spec.action: always(unknown())})

    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "OUTCOME_UNKNOWN")
    assert played.action(step.spec.action) == "UNKNOWN"
    assert len(attempts(played, step.spec.action)) == step.spec.retry.attempts
    assert undone(played) == []


@pytest.mark.parametrize(("saga", "step"), cases(turns_back))
def test_a_step_that_stays_out_of_reach_up_to_the_pivot_undoes_what_was_done(saga, step):
    played = run(saga, {step.spec.action: always(transient("down"))})

    assert played.status == "COMPENSATED"
    assert undone(played) == to_undo(done_before(step, saga.plan, pauses=True))
    assert played.action(step.spec.action) == "FAILED"
    assert played.state.failure["code"] == why_given_up(step, saga.plan, "transient")


@pytest.mark.parametrize(("saga", "step"), cases(lambda step: not turns_back(step)))
def test_a_step_out_of_reach_after_the_pivot_is_tried_until_it_is_done(saga, step):
    patience = 5 * step.spec.retry.attempts
    played = run(saga, {step.spec.action: [transient("down")] * patience})

    assert played.status == "COMPLETED"
    assert len(attempts(played, step.spec.action)) == patience + 1
    assert undone(played) == []


@pytest.mark.parametrize(("saga", "step"), cases())
def test_a_step_with_a_bug_is_tried_three_times_and_waits_for_a_person(saga, step):
    played = run(saga, {step.spec.action: always(bug(definite=not is_remote(step)))})

    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")
    assert attempts(played, step.spec.action) == [f"{step.name} bug"] * 3
    assert undone(played) == []


# --- every compensation fails ---------------------------------------------------------------------


def after(step, saga):
    """A step whose refusal lets the saga undo ``step``: the next one that can be refused, the pivot at last."""
    return next(s for s in saga.plan.steps if s.place > step.place and turns_back(s))


def undo_cases() -> Iterator[object]:
    for saga in PLANS:
        for step in saga.plan.steps:
            if is_undone(step):
                yield pytest.param(saga, step, id=f"{saga.__name__}-{step.spec.compensation.__name__}")


@pytest.mark.parametrize("failure", [transient(), unknown(), lease_over(), bug()], ids=lambda o: o.kind.lower())
@pytest.mark.parametrize(("saga", "step"), list(undo_cases()))
def test_a_compensation_that_fails_once_is_run_again(saga, step, failure):
    refusing = after(step, saga)
    played = run(saga, {refusing.spec.action: refused(), step.spec.compensation: failure})

    assert played.status == "COMPENSATED"
    assert len(attempts(played, step.spec.compensation)) == 2
    assert undone(played) == to_undo(done_before(refusing, saga.plan))


@pytest.mark.parametrize("failure", [refused(), bug()], ids=lambda o: o.kind.lower())
@pytest.mark.parametrize(("saga", "step"), list(undo_cases()))
def test_a_compensation_that_fails_for_ever_keeps_what_lies_before_it(saga, step, failure):
    refusing = after(step, saga)
    played = run(saga, {refusing.spec.action: refused("no", "because"), step.spec.compensation: always(failure)})

    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "COMPENSATION_FAILED")
    assert undone(played) == to_undo(s for s in done_before(refusing, saga.plan) if s.place >= step.place)
    assert played.compensation(step.spec.action) == "FAILED"
    assert played.state.failure["message"] == "because"


@pytest.mark.parametrize(("saga", "step"), list(undo_cases()))
def test_a_compensation_out_of_reach_is_never_given_up(saga, step):
    refusing = after(step, saga)
    played = run(saga, {refusing.spec.action: refused(), step.spec.compensation: [transient("down")] * 200})

    assert played.status == "COMPENSATED"
    assert len(attempts(played, step.spec.compensation)) == 201


# --- a cancel at any moment -----------------------------------------------------------------------


def moments() -> Iterator[object]:
    for saga in PLANS:
        for count in range(len(saga.plan.steps)):
            yield pytest.param(saga, count, id=f"{saga.__name__}-after {count}")


@pytest.mark.parametrize(("saga", "count"), list(moments()))
def test_a_cancel_undoes_all_before_the_pivot_and_nothing_after_it(saga, count):
    played = run(saga, turn_back_after=count)

    passed = f"{next(s.name for s in saga.plan.steps if s.pivot)} done" in played.trace
    ran = [s for s in saga.plan.steps if s.begins or f"{s.name} done" in played.trace]
    assert passed == (count >= next(s.position for s in saga.plan.steps if s.pivot))
    assert played.status == ("COMPLETED" if passed else "COMPENSATED")
    assert undone(played) == ([] if passed else to_undo(ran))
    assert played.state.failure == (None if passed else {"step": "", "code": "cancelled", "message": "the customer"})


# --- the central traces, word by word -------------------------------------------------------------


def test_a_checkout_runs_in_this_order():
    assert run(Checkout).trace == [
        "validate_order done",
        "reserve_stock done",
        "authorize_payment done",
        "book_shipment done",
        "capture_payment done",
        "confirm_order done",
        "send_confirmation done",
    ]


def test_a_declined_card_gives_back_the_stock_and_cancels_the_order():
    played = run(Checkout, {shop.authorize_payment: refused("card_declined", "Your card was declined.")})

    assert played.trace == [
        "validate_order done",
        "reserve_stock done",
        "authorize_payment refused",
        "release_stock done",
        "cancel_order done",
    ]
    assert played.state.failure == {
        "step": "authorize_payment",
        "code": "card_declined",
        "message": "Your card was declined.",
    }


def test_goods_that_are_gone_are_not_paid_for():
    assert run(Checkout, {shop.reserve_stock: refused("out_of_stock")}).trace == [
        "validate_order done",
        "reserve_stock refused",
        "cancel_order done",
    ]


def test_a_parcel_nobody_takes_gives_back_money_and_stock():
    assert run(Checkout, {shop.book_shipment: refused()}).trace == [
        "validate_order done",
        "reserve_stock done",
        "authorize_payment done",
        "book_shipment refused",
        "release_stock done",
        "void_payment done",
        "cancel_order done",
    ]


def test_an_authorization_that_has_expired_takes_the_label_back_as_well():
    assert run(Checkout, {shop.capture_payment: refused("expired")}).trace[4:] == [
        "capture_payment refused",
        "cancel_shipment done",
        "release_stock done",
        "void_payment done",
        "cancel_order done",
    ]


def test_a_capture_nobody_knows_of_is_asked_for_a_hundred_times_and_undoes_nothing():
    played = run(Checkout, {shop.capture_payment: always(unknown())})

    assert played.trace[4:] == ["capture_payment unknown"] * 100
    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "OUTCOME_UNKNOWN")


def test_what_the_script_does_not_name_is_done():
    assert run(Checkout, {shop.authorize_payment: [done(), refused()]}).status == "COMPLETED"
