"""Leases, the way back, deadlines and cancels, rule by rule."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sagas import machine
from sagas.definition import NoCompensation, Parallel, seconds
from sagas.machine import NotAllowed
from sagas.outcomes import Outcome, OutcomeKind
from sagas.snapshot import SagaState, Task
from sagas.states import IllegalMove, SagaStatus, Side, check_move
from sagas.testing import bug, done, lease_over, refused, transient, unknown
from tests.sagas.checkouts import (
    AUTHORIZE,
    BEGIN,
    CAPTURE,
    CHECKOUT,
    RESERVE,
    again,
    done_until_it_rests,
    pause_of,
    send,
    step,
    walk_at,
)
from tests.sagas.walks import START

# --- leases -------------------------------------------------------------------------------------


def test_the_end_of_a_lease_takes_the_token_and_raises_the_generation_first():
    walk = walk_at("authorize")
    walk.work(lambda _: done())
    before = walk.saga
    assert step(walk, "authorize").token == before.generation

    walk.wait_until_due()
    after, closed = machine.lease_over(walk.plan, before, walk.now, lambda: 1.0)

    assert closed == [Task(2, Side.ACTION)]
    assert after.generation == before.generation + 1
    assert (after.steps[2].token, after.steps[2].action) == (0, "UNKNOWN")


def test_a_lease_that_lasts_is_left_alone():
    walk = walk_at("authorize")
    walk.work(lambda _: done())
    walk.wait(timedelta(seconds=29, microseconds=999_999))

    assert machine.lease_over(walk.plan, walk.saga, walk.now, lambda: 1.0) == (walk.saga, [])


# --- backward -----------------------------------------------------------------------------------


def test_what_is_done_is_undone_in_reverse_and_what_failed_is_not():
    walk = walk_at("capture")

    walk.attempt(refused())

    assert done_until_it_rests(walk) == ["authorize", "reserve", "place"]
    assert [s.compensation for s in walk.saga.steps] == [*["SUCCEEDED"] * 3, *["NOT_NEEDED"] * 3]


def test_nothing_is_undone_while_a_member_of_the_group_may_run():
    walk = walk_at("reserve", BEGIN, Parallel(RESERVE, AUTHORIZE), CAPTURE)
    walk.attempt(transient())  # reserve pauses
    walk.work(lambda _: done())  # authorize starts
    walk.wait(seconds(4))

    walk.work(lambda _: refused())  # reserve is refused
    assert (walk.saga.status, walk.saga.backward) == ("COMPENSATING", True)
    assert machine.next_task(walk.plan, walk.saga, walk.now) is None
    assert walk.saga.wake_at == step(walk, "authorize").due_at
    walk.answer(Task(2, Side.ACTION), done())

    assert done_until_it_rests(walk) == ["authorize", "place"]


def test_members_of_a_group_are_undone_at_the_same_time():
    walk = walk_at("capture", Parallel(AUTHORIZE, replace(AUTHORIZE, action=send)), CAPTURE)
    walk.attempt(refused())

    walk.work(lambda _: done())
    walk.work(lambda _: done())

    assert [s.compensation for s in walk.saga.steps] == ["RUNNING", "RUNNING", "NOT_NEEDED"]


@pytest.mark.parametrize("outcome", [transient("busy"), unknown("cut"), lease_over()])
def test_a_compensation_is_tried_without_end(outcome):
    walk = walk_at("capture")
    walk.attempt(refused("declined", "no money"))

    again(walk, outcome, times=30)

    assert walk.saga.status == "COMPENSATING"
    assert walk.saga.attention == f"the compensation of authorize failed 30 times: {outcome.message}"
    assert pause_of(walk, "authorize") == 60
    assert walk.saga.waiting_on["side"] == "compensation"
    assert done_until_it_rests(walk) == ["authorize", "reserve", "place"]
    assert walk.saga.failure == {"step": "capture", "code": "declined", "message": "no money"}


def test_a_compensation_has_a_budget_of_its_own():
    walk = walk_at("authorize")
    again(walk, unknown("cut"), times=3)
    assert walk.saga.backward

    again(walk, transient("busy"), times=1)

    assert (step(walk, "authorize").failures, walk.saga.attention) == (1, "")


@pytest.mark.parametrize(("outcome", "times"), [(refused(), 1), (bug(definite=False), 3)])
def test_a_compensation_that_cannot_work_waits_for_a_person(outcome, times):
    walk = walk_at("capture")
    walk.attempt(refused())

    again(walk, outcome, times=times)

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "COMPENSATION_FAILED")
    assert [s.compensation for s in walk.saga.steps[:3]] == ["PENDING", "PENDING", "FAILED"]


def test_the_other_members_of_a_group_are_undone_when_one_cannot_be():
    walk = walk_at("capture", BEGIN, Parallel(RESERVE, AUTHORIZE), CAPTURE)
    walk.attempt(refused())

    walk.attempt(refused())  # release
    assert walk.saga.status == "COMPENSATING"
    walk.attempt(done())  # void

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "COMPENSATION_FAILED")
    assert [s.compensation for s in walk.saga.steps[:3]] == ["PENDING", "FAILED", "SUCCEEDED"]


def test_a_step_without_compensation_stops_the_way_back_at_its_place():
    walk = walk_at(
        "capture", BEGIN, replace(RESERVE, compensation=None, no_compensation=NoCompensation.SUSPEND), CAPTURE
    )

    walk.attempt(refused())

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "NO_COMPENSATION")
    assert [s.compensation for s in walk.saga.steps] == ["PENDING", "FAILED", "NOT_NEEDED"]


def test_a_step_whose_effect_is_accepted_is_passed_over_on_the_way_back():
    walk = walk_at(
        "capture", BEGIN, replace(RESERVE, compensation=None, no_compensation=NoCompensation.ACCEPT), CAPTURE
    )

    walk.attempt(refused())

    assert done_until_it_rests(walk) == ["place"]
    assert walk.saga.status == "COMPENSATED"


@pytest.mark.parametrize(
    ("outcome", "undone"), [(done(), True), (unknown(), True), (transient(), False), (refused(), False)]
)
def test_an_action_that_ends_on_the_way_back_is_undone_if_it_may_have_happened(outcome, undone):
    walk = walk_at("authorize")
    walk.work(lambda _: done())
    walk.ask(machine.turn_back, "cancelled", "the customer")

    walk.answer(Task(2, Side.ACTION), outcome)

    assert done_until_it_rests(walk) == [*["authorize"] * undone, "reserve", "place"]


# --- deadline and cancel ------------------------------------------------------------------------


def test_a_deadline_before_the_pivot_turns_back():
    walk = walk_at("reserve", *CHECKOUT, deadline=seconds(20))
    walk.attempt(transient("busy", seconds(600)))
    assert walk.saga.wake_at == START + seconds(20), "it is looked at when the deadline passes"

    walk.wait_until_due()
    walk.work(lambda _: done())

    assert walk.saga.failure == {
        "step": "",
        "code": "deadline",
        "message": "the deadline passed before the point of no return",
    }
    assert walk.saga.status == "COMPENSATING"


def test_a_deadline_waits_for_the_call_under_way():
    walk = walk_at("authorize", *CHECKOUT, deadline=seconds(20))
    walk.work(lambda _: done())

    walk.wait_until_due()
    walk.work(lambda _: done())

    assert (walk.saga.backward, step(walk, "authorize").action) == (True, "RUNNING")
    assert walk.saga.wake_at == START + seconds(30), "the end of the lease"


@pytest.mark.parametrize("outcome", [done(), unknown()])
def test_a_deadline_does_not_turn_a_saga_whose_pivot_is_under_way_or_unknown(outcome):
    walk = walk_at("capture", *CHECKOUT, deadline=seconds(20))
    walk.work(lambda _: done())
    walk.wait(seconds(25))

    walk.answer(Task(3, Side.ACTION), outcome)

    assert not walk.saga.backward
    assert walk.saga.attention == ("the deadline passed after the point of no return" if outcome == done() else "")


def test_a_deadline_after_the_pivot_raises_attention_only():
    walk = walk_at("send", *CHECKOUT, deadline=seconds(20))
    walk.wait(seconds(20))

    walk.work(lambda _: done())
    assert walk.saga.attention == "the deadline passed after the point of no return"

    walk.answer(Task(5, Side.ACTION), done())
    assert walk.saga.status == "COMPLETED"


def test_a_deadline_after_the_pivot_is_noticed_however_long_the_saga_pauses():
    walk = walk_at("send", *CHECKOUT, deadline=seconds(20))
    walk.attempt(transient("busy", seconds(600)))

    assert walk.saga.wake_at == START + seconds(20)
    walk.wait_until_due()
    walk.work(lambda _: done())

    assert walk.saga.attention == "the deadline passed after the point of no return"
    assert walk.saga.wake_at == step(walk, "send").due_at


def test_a_deadline_does_not_touch_a_saga_that_goes_backward():
    walk = walk_at("capture", *CHECKOUT, deadline=seconds(20))
    walk.attempt(refused("declined", "no money"))
    walk.wait(seconds(20))

    done_until_it_rests(walk)

    assert walk.saga.status == "COMPENSATED"
    assert walk.saga.failure["code"] == "declined"


@pytest.mark.parametrize("name", ["reserve", "authorize", "capture"])
def test_a_cancel_before_the_pivot_undoes_what_was_done(name):
    walk = walk_at(name)

    assert walk.ask(machine.turn_back, "cancelled", "the customer")

    assert walk.saga.failure == {"step": "", "code": "cancelled", "message": "the customer"}
    undone = {"reserve": ["place"], "authorize": ["reserve", "place"], "capture": ["authorize", "reserve", "place"]}
    assert done_until_it_rests(walk) == undone[name]
    assert walk.saga.status == "COMPENSATED"


def refuses_to_turn_back(walk):
    with pytest.raises(NotAllowed) as caught:
        machine.turn_back(walk.plan, walk.saga, "cancelled", "the customer", walk.now)
    return str(caught.value)


def test_a_cancel_is_refused_while_the_pivot_is_under_way():
    walk = walk_at("capture")
    walk.work(lambda _: done())

    assert refuses_to_turn_back(walk) == (
        "The saga cannot be turned back: its pivot capture is under way or its outcome is unknown."
    )


def test_a_cancel_is_refused_while_the_outcome_of_the_pivot_is_unknown():
    walk = walk_at("capture")
    walk.attempt(unknown())

    assert refuses_to_turn_back(walk) == (
        "The saga cannot be turned back: its pivot capture is under way or its outcome is unknown."
    )


def test_a_cancel_is_refused_after_the_pivot():
    walk = walk_at("confirm")

    assert refuses_to_turn_back(walk) == "The saga cannot be turned back: its pivot has passed."


def test_a_cancel_is_refused_on_the_way_back():
    walk = walk_at("capture")
    walk.attempt(refused())

    assert refuses_to_turn_back(walk) == "The saga cannot be turned back: it is already going backward."


def test_a_cancel_is_refused_after_the_end():
    walk = walk_at("send")
    walk.attempt(done())

    assert refuses_to_turn_back(walk) == "The saga cannot be turned back: it has ended: COMPLETED."


def test_a_cancel_moves_a_saga_that_was_suspended():
    walk = walk_at("reserve")
    again(walk, bug(), times=3)
    assert walk.saga.status == "SUSPENDED"

    walk.ask(machine.turn_back, "cancelled", "the customer")

    assert (walk.saga.status, walk.saga.suspend_reason) == ("COMPENSATING", None)


# --- the table of moves -------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["COMPLETED", "COMPENSATED", "ABANDONED"])
def test_nothing_follows_the_end(end):
    saga = SagaState((), status=SagaStatus(end))

    assert machine.next_task(walk_at("reserve").plan, saga, START) is None
    for status in SagaStatus:
        if status != end:
            with pytest.raises(IllegalMove):
                check_move(SagaStatus(end), status)


def test_an_illegal_move_is_named():
    with pytest.raises(IllegalMove, match=r"^SagaStatus COMPENSATING cannot become RUNNING$"):
        check_move(SagaStatus.COMPENSATING, SagaStatus.RUNNING)


def test_every_outcome_has_its_rule():
    assert {o.kind for o in (done(), refused(), transient(), unknown(), bug(), lease_over())} == set(OutcomeKind)
    assert Outcome(OutcomeKind.DONE).definite
