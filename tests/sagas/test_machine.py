"""What each outcome of an action leads to, before and after the pivot, rule by rule."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sagas import machine
from sagas.definition import Begin, OnBug, Parallel, Retry, Step, seconds
from sagas.snapshot import Task, new_saga
from sagas.states import Side
from sagas.testing import bug, done, lease_over, refused, transient, unknown
from tests.sagas.checkouts import (
    AUTHORIZE,
    BEGIN,
    CAPTURE,
    CHECKOUT,
    CONFIRM,
    RESERVE,
    again,
    done_until_it_rests,
    look,
    pause_of,
    send,
    step,
    walk_at,
)
from tests.sagas.walks import START

# --- forward ------------------------------------------------------------------------------------


def test_the_step_that_begins_a_saga_is_done_from_the_outset():
    saga = new_saga(walk_at("reserve").plan, START)

    assert [s.action for s in saga.steps] == ["SUCCEEDED", *["PENDING"] * 5]
    assert saga.wake_at == START


def test_a_saga_goes_forward_one_place_after_the_other():
    walk = walk_at("reserve")

    assert done_until_it_rests(walk) == ["reserve", "authorize", "capture", "confirm", "send"]

    assert walk.saga.status == "COMPLETED"
    assert walk.saga.pivot_passed


def test_members_of_a_group_run_at_the_same_time_and_the_next_place_waits_for_all():
    walk = walk_at("authorize", Parallel(AUTHORIZE, replace(AUTHORIZE, action=send)), CAPTURE)

    walk.work(lambda _: done())
    assert machine.next_task(walk.plan, walk.saga, walk.now) == Task(1, Side.ACTION)
    walk.work(lambda _: done())
    assert machine.next_task(walk.plan, walk.saga, walk.now) is None
    walk.answer(Task(1, Side.ACTION), done())
    assert machine.next_task(walk.plan, walk.saga, walk.now) is None
    walk.answer(Task(0, Side.ACTION), done())

    assert machine.next_task(walk.plan, walk.saga, walk.now) == Task(2, Side.ACTION)


def test_a_receipt_is_kept_and_an_error_forgotten_when_a_step_is_done():
    walk = walk_at("reserve")
    walk.attempt(transient("locked"))
    assert step(walk, "reserve").error == "locked"

    again(walk, done({"code": "R1"}), times=1)

    state = step(walk, "reserve")
    assert (state.receipt, state.error, state.failures, state.action_attempts) == ({"code": "R1"}, "", 0, 2)


def test_a_saga_that_goes_on_at_once_stays_due_since_it_became_due():
    """Who began first is served first, and the rows of a saga in progress change in no index."""
    walk = walk_at("reserve")
    walk.wait(seconds(12))

    walk.attempt(done())

    assert walk.saga.wake_at == START


# --- TRANSIENT ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reserve", "authorize", "capture"])
def test_a_transient_failure_before_the_pivot_pauses_and_the_budget_spent_turns_back(name):
    walk = walk_at(name)

    walk.attempt(transient("busy"))
    assert pause_of(walk, name) == 4
    assert walk.saga.status == "WAITING"
    assert walk.saga.waiting_on == {
        "kind": "backoff",
        "step": name,
        "side": "action",
        "until": (walk.now + seconds(4)).isoformat(),
        "why": "busy",
    }
    again(walk, transient("busy"), times=1)
    assert pause_of(walk, name) == 8
    again(walk, transient("busy"), times=1)

    assert walk.saga.backward
    assert walk.saga.failure == {"step": name, "code": "transient", "message": "busy"}
    assert (step(walk, name).action, step(walk, name).compensation) == ("FAILED", "NOT_NEEDED")
    assert pause_of(walk, name) is None


@pytest.mark.parametrize("name", ["confirm", "send"])
def test_a_transient_failure_after_the_pivot_is_tried_again_without_end(name):
    walk = walk_at(name)

    again(walk, transient("busy"), times=2)
    assert walk.saga.attention == ""
    again(walk, transient("busy"), times=1)
    assert walk.saga.attention == f"{name} failed 3 times: busy"
    again(walk, transient("busy"), times=20)

    assert walk.saga.status == "WAITING"
    assert walk.saga.attention == f"{name} failed 23 times: busy"
    assert pause_of(walk, name) == 60, "the backoff is capped"
    again(walk, done(), times=1)
    assert step(walk, name).action == "SUCCEEDED"


def test_a_time_that_the_service_names_takes_the_place_of_the_backoff_spread_by_half():
    walk = walk_at("authorize")

    walk.attempt(transient("busy", seconds(600)))
    assert pause_of(walk, "authorize") == 900
    again(walk, transient("busy", seconds(10)), times=1)

    assert pause_of(walk, "authorize") == 15


@pytest.mark.parametrize("named", [timedelta(0), timedelta(hours=-1)])
def test_a_service_that_names_no_time_ahead_is_not_asked_without_a_pause(named):
    walk = walk_at("confirm")

    again(walk, transient(retry_after=named), times=3)

    assert pause_of(walk, "confirm") == 16


@pytest.mark.parametrize("named", [timedelta(days=4_000), timedelta.max])
def test_a_service_that_names_years_is_asked_again_after_a_day(named):
    walk = walk_at("authorize")

    walk.attempt(transient(retry_after=named))

    assert pause_of(walk, "authorize") == timedelta(days=1.5).total_seconds(), "spread by up to a half"


@pytest.mark.parametrize(
    ("failures", "pause"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (60, 60), (10_000, 60)]
)
def test_backoff_doubles_up_to_its_cap(failures, pause):
    assert Retry(first=seconds(1), cap=seconds(60)).delay(failures, jitter=1.0) == seconds(pause)


@pytest.mark.parametrize(("jitter", "pause"), [(0.0, 0), (0.25, 2), (1.0, 8)])
def test_jitter_is_full_from_nothing_to_the_whole_pause(jitter, pause):
    assert Retry(first=seconds(1)).delay(4, jitter) == seconds(pause)


# --- REFUSED ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["reserve", "authorize", "capture"])
def test_a_refusal_up_to_the_pivot_turns_back_in_the_same_commit(name):
    walk = walk_at(name)

    walk.attempt(refused("declined", "no money"))

    assert (walk.saga.status, walk.saga.backward) == ("COMPENSATING", True)
    assert walk.saga.failure == {"step": name, "code": "declined", "message": "no money"}
    assert (step(walk, name).action, step(walk, name).compensation) == ("FAILED", "NOT_NEEDED")
    assert walk.saga.wake_at == walk.now


@pytest.mark.parametrize("name", ["confirm", "send"])
def test_a_refusal_after_the_pivot_is_a_broken_contract(name):
    walk = walk_at(name)

    walk.attempt(refused())

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "CONTRACT_VIOLATION")
    assert step(walk, name).action == "FAILED"
    assert {state.compensation for state in walk.saga.steps} == {"NOT_NEEDED"}


def test_a_saga_refused_before_its_first_effect_is_compensated_in_that_commit():
    walk = walk_at("look", Step(look, reads_only=True), RESERVE)

    walk.attempt(refused())

    assert walk.saga.status == "COMPENSATED"


# --- UNKNOWN ------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [unknown("cut"), lease_over(), bug(definite=False)])
def test_an_outcome_nobody_knows_is_asked_for_and_keeps_its_step_unknown(outcome):
    walk = walk_at("authorize")

    walk.attempt(outcome)

    assert step(walk, "authorize").action == "UNKNOWN"
    assert walk.saga.status == "WAITING"
    assert walk.saga.waiting_on["kind"] == "outcome"
    walk.wait_until_due()
    assert machine.next_task(walk.plan, walk.saga, walk.now) == Task(2, Side.ACTION, settle=True)


@pytest.mark.parametrize("outcome", [transient(), bug(), unknown()])
def test_a_later_attempt_without_effect_does_not_settle_an_unknown_one(outcome):
    walk = walk_at("authorize")
    walk.attempt(unknown())

    again(walk, outcome, times=1)

    assert step(walk, "authorize").action == "UNKNOWN"


@pytest.mark.parametrize(("outcome", "action"), [(done("R1"), "SUCCEEDED"), (refused(), "FAILED")])
def test_a_definite_answer_settles_an_unknown_outcome(outcome, action):
    walk = walk_at("authorize")
    walk.attempt(unknown())

    again(walk, outcome, times=1)

    assert step(walk, "authorize").action == action


def test_a_refusal_without_a_call_does_not_settle_an_unknown_outcome():
    walk = walk_at("authorize")
    walk.attempt(unknown())
    walk.wait_until_due()

    walk.work(lambda _: refused(), unprepared=True)

    assert step(walk, "authorize").action == "UNKNOWN"
    assert not walk.saga.backward


def test_an_unknown_outcome_before_the_pivot_is_compensated_first_when_its_budget_is_spent():
    walk = walk_at("authorize")

    again(walk, unknown("cut"), times=3)

    assert walk.saga.failure == {"step": "authorize", "code": "unknown", "message": "cut"}
    assert (step(walk, "authorize").action, step(walk, "authorize").compensation) == ("UNKNOWN", "PENDING")
    assert done_until_it_rests(walk) == ["authorize", "reserve", "place"]
    assert walk.saga.status == "COMPENSATED"


@pytest.mark.parametrize("name", ["capture", "send"])
def test_an_unknown_outcome_from_the_pivot_on_is_never_undone_blindly(name):
    walk = walk_at(name)

    again(walk, unknown(), times=3)

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "OUTCOME_UNKNOWN")
    assert step(walk, name).action == "UNKNOWN"
    assert not walk.saga.backward


# --- BUG ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "action"), [("reserve", "FAILED"), ("authorize", "UNKNOWN"), ("confirm", "FAILED")])
def test_a_bug_is_tried_three_times_and_then_waits_for_a_person(name, action):
    patient = Retry(attempts=60, first=seconds(1))
    items = [s if isinstance(s, Begin) else replace(s, retry=patient) for s in CHECKOUT]
    walk = walk_at(name, *items)

    again(walk, bug(definite=name != "authorize"), times=2)
    assert walk.saga.status == "WAITING"
    again(walk, bug(definite=name != "authorize"), times=1)

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")
    assert step(walk, name).action == action
    assert not walk.saga.backward


def test_a_bug_turns_back_where_the_step_says_so():
    walk = walk_at("reserve", BEGIN, replace(RESERVE, on_bug=OnBug.BACKWARD))

    again(walk, bug("KeyError: 'x'"), times=3)

    assert walk.saga.failure == {"step": "reserve", "code": "bug", "message": "KeyError: 'x'"}
    assert step(walk, "reserve").action == "FAILED"


def test_a_bug_after_the_pivot_does_not_turn_back_whatever_the_step_says():
    walk = walk_at("confirm", CAPTURE, replace(CONFIRM, on_bug=OnBug.BACKWARD))

    again(walk, bug(), times=3)

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")
