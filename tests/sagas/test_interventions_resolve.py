"""Settling an unknown outcome by hand."""

import pytest

from sagas import interventions, machine
from sagas.definition import Parallel, seconds
from sagas.machine import NotAllowed
from sagas.snapshot import Task
from sagas.states import Side
from sagas.testing import bug, done, refused, unknown
from tests.sagas.checkouts import (
    CAPTURE,
    CONFIRM,
    SEND,
    again,
    done_until_it_rests,
    step,
    walk_at,
)


def refusal(walk, transition, *args, **words):
    with pytest.raises(NotAllowed) as caught:
        transition(walk.plan, walk.saga, *args, now=walk.now, **words)
    return str(caught.value)


def resolve(walk, name, *, happened, receipt=None):
    return walk.ask(interventions.resolve, walk.plan.step(name), happened=happened, receipt=receipt)


def test_what_happened_is_done_with_its_receipt():
    walk = walk_at("authorize")
    walk.attempt(unknown())

    assert resolve(walk, "authorize", happened=True, receipt={"id": "pi_1"})

    state = step(walk, "authorize")
    assert (state.action, state.receipt, state.error, state.due_at) == ("SUCCEEDED", {"id": "pi_1"}, "", None)
    assert done_until_it_rests(walk) == ["capture", "confirm", "send"]


def test_what_did_not_happen_is_tried_again():
    walk = walk_at("authorize")
    walk.attempt(unknown())

    assert resolve(walk, "authorize", happened=False)

    assert step(walk, "authorize").action == "PENDING"
    assert machine.next_task(walk.plan, walk.saga, walk.now) == Task(2, Side.ACTION, settle=False)


def test_a_pivot_that_happened_has_passed():
    walk = walk_at("capture")
    again(walk, unknown(), times=3)
    assert walk.saga.suspend_reason == "OUTCOME_UNKNOWN"

    assert resolve(walk, "capture", happened=True)

    assert (walk.saga.pivot_passed, walk.saga.status) == (True, "RUNNING")
    assert refusal(walk, machine.turn_back, "cancelled", "x").endswith("its pivot has passed.")


def test_a_pivot_that_did_not_happen_can_be_turned_back():
    walk = walk_at("capture")
    again(walk, unknown(), times=3)

    assert resolve(walk, "capture", happened=False)
    assert walk.ask(machine.turn_back, "cancelled", "x")

    assert done_until_it_rests(walk) == ["authorize", "reserve", "place"]


def backward_with_unknown_authorization():
    walk = walk_at("authorize")
    again(walk, unknown(), times=3)
    assert (walk.saga.backward, step(walk, "authorize").compensation) == (True, "PENDING")
    return walk


def test_on_the_way_back_what_did_not_happen_is_not_undone():
    walk = backward_with_unknown_authorization()

    assert resolve(walk, "authorize", happened=False)

    assert (step(walk, "authorize").action, step(walk, "authorize").compensation) == ("FAILED", "NOT_NEEDED")
    assert done_until_it_rests(walk) == ["reserve", "place"]


def test_on_the_way_back_what_happened_is_undone_with_its_receipt():
    walk = backward_with_unknown_authorization()

    assert resolve(walk, "authorize", happened=True, receipt={"id": "pi_1"})

    assert (step(walk, "authorize").receipt, step(walk, "authorize").compensation) == ({"id": "pi_1"}, "PENDING")
    assert done_until_it_rests(walk) == ["authorize", "reserve", "place"]


def test_a_compensation_that_failed_is_not_needed_for_what_did_not_happen():
    walk = backward_with_unknown_authorization()
    walk.attempt(refused())
    assert walk.saga.suspend_reason == "COMPENSATION_FAILED"

    assert resolve(walk, "authorize", happened=False)

    assert walk.saga.status == "COMPENSATING"
    assert done_until_it_rests(walk) == ["reserve", "place"]


def test_resolving_does_not_end_a_pause():
    walk = walk_at("authorize")
    walk.attempt(unknown())
    walk.ask(interventions.pause)

    assert resolve(walk, "authorize", happened=True)

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "OPERATOR_PAUSE")


def test_resolving_one_member_does_not_lose_why_another_one_stopped():
    walk = walk_at("confirm", CAPTURE, Parallel(CONFIRM, SEND))
    walk.work(lambda _: bug())
    walk.work(lambda _: done())
    walk.answer(Task(2, Side.ACTION), unknown())
    for pause in (seconds(4), seconds(8)):
        walk.wait(pause)
        walk.work(lambda _: bug())
    assert (walk.saga.suspend_reason, step(walk, "send").action) == ("RETRIES_EXHAUSTED", "UNKNOWN")

    assert resolve(walk, "send", happened=True)

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")


def why_not_resolve(walk, name):
    return refusal(walk, interventions.resolve, walk.plan.step(name), happened=True, receipt=None)


def test_only_an_unknown_outcome_is_resolved():
    assert why_not_resolve(walk_at("authorize"), "reserve") == "The outcome of reserve is not unknown: it is SUCCEEDED."


def test_what_is_being_asked_is_not_resolved_by_hand():
    walk = walk_at("authorize")
    walk.attempt(unknown())
    walk.wait_until_due()
    walk.work(lambda _: done())

    assert why_not_resolve(walk, "authorize") == "authorize is being asked right now; wait for the answer."


def test_what_is_undone_is_not_resolved():
    walk = backward_with_unknown_authorization()
    walk.attempt(done())

    assert why_not_resolve(walk, "authorize") == "authorize is being undone, whatever became of it."


def test_of_what_was_waived_nothing_is_left_to_resolve():
    walk = walk_at("authorize")
    walk.attempt(unknown())
    walk.ask(machine.turn_back, "cancelled", "x")
    walk.attempt(refused())
    walk.ask(interventions.waive, walk.plan.step("authorize"))
    assert not walk.saga.terminal
    assert step(walk, "authorize").compensation == "WAIVED"

    assert "was waived" in refusal(
        walk, interventions.resolve, walk.plan.step("authorize"), happened=False, receipt=None
    )
