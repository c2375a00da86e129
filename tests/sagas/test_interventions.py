"""What a person may do to a saga, and what each is refused for."""

from dataclasses import replace

import pytest

from sagas import interventions, machine
from sagas.definition import NoCompensation, Parallel, seconds
from sagas.machine import NotAllowed
from sagas.snapshot import Task
from sagas.states import Side
from sagas.testing import done, refused, transient, unknown
from tests.sagas.checkouts import (
    AUTHORIZE,
    BEGIN,
    CAPTURE,
    RESERVE,
    again,
    done_until_it_rests,
    pause_of,
    step,
    walk_at,
)


def refusal(walk, transition, *args, **words):
    with pytest.raises(NotAllowed) as caught:
        transition(walk.plan, walk.saga, *args, now=walk.now, **words)
    return str(caught.value)


# --- retry --------------------------------------------------------------------------------------


def test_a_retry_ends_the_backoff_and_renews_the_budget_but_not_the_count():
    walk = walk_at("reserve")
    again(walk, transient(), times=2)

    assert walk.ask(interventions.retry)

    state = step(walk, "reserve")
    assert (state.failures, state.due_at, state.action_attempts) == (0, None, 2)
    assert (walk.saga.status, walk.saga.wake_at) == ("RUNNING", walk.now)


def test_a_retry_tries_again_what_failed_for_good():
    walk = walk_at("confirm")
    walk.attempt(refused())
    assert walk.saga.suspend_reason == "CONTRACT_VIOLATION"

    assert walk.ask(interventions.retry)

    assert (walk.saga.status, step(walk, "confirm").action) == ("RUNNING", "PENDING")
    assert done_until_it_rests(walk) == ["confirm", "send"]


def test_a_retry_asks_again_what_nobody_knows():
    walk = walk_at("capture")
    again(walk, unknown(), times=3)

    assert walk.ask(interventions.retry)

    assert machine.next_task(walk.plan, walk.saga, walk.now) == Task(3, Side.ACTION, settle=True)


def test_a_retry_runs_a_failed_compensation_again():
    walk = walk_at("capture")
    walk.attempt(refused())
    walk.attempt(refused())
    assert walk.saga.suspend_reason == "COMPENSATION_FAILED"

    assert walk.ask(interventions.retry)

    assert done_until_it_rests(walk) == ["authorize", "reserve", "place"]
    assert walk.saga.status == "COMPENSATED"


def test_a_retry_runs_no_compensation_that_is_not_there():
    impossible = replace(RESERVE, compensation=None, no_compensation=NoCompensation.SUSPEND)
    walk = walk_at("capture", Parallel(impossible, AUTHORIZE), CAPTURE)
    walk.attempt(refused())
    walk.attempt(refused())
    assert walk.saga.suspend_reason == "COMPENSATION_FAILED"

    assert walk.ask(interventions.retry)
    assert [s.compensation for s in walk.saga.steps] == ["FAILED", "PENDING", "NOT_NEEDED"]
    walk.attempt(done())

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "NO_COMPENSATION")


def test_a_retry_leaves_a_call_under_way_alone():
    walk = walk_at("reserve", Parallel(RESERVE, AUTHORIZE))
    walk.attempt(transient())
    walk.work(lambda _: done())
    before = step(walk, "authorize")

    assert walk.ask(interventions.retry)

    assert step(walk, "authorize") == before
    assert step(walk, "reserve").due_at is None


def test_what_is_on_its_way_needs_no_retry():
    walk = walk_at("authorize")
    walk.work(lambda _: done())

    assert refusal(walk, interventions.retry) == "Nothing of this saga has failed or pauses; it is on its way."


def test_what_is_paused_is_resumed_and_not_retried():
    walk = walk_at("authorize")
    walk.ask(interventions.pause)

    assert refusal(walk, interventions.retry) == "The saga is paused; resume it."


def test_there_is_no_retry_of_what_cannot_be_undone():
    walk = walk_at("capture", replace(RESERVE, compensation=None, no_compensation=NoCompensation.SUSPEND), CAPTURE)
    walk.attempt(refused())

    sentence = "There is no compensation to retry; undo the effect by hand, then waive it."
    assert refusal(walk, interventions.retry) == sentence


@pytest.mark.parametrize("transition", [interventions.retry, interventions.pause])
def test_what_has_ended_is_left_alone(transition):
    walk = walk_at("send")
    walk.attempt(done())

    assert refusal(walk, transition) == "The saga has ended: COMPLETED."


# --- pause and resume ---------------------------------------------------------------------------


def test_nothing_starts_during_a_pause_and_what_is_under_way_is_recorded():
    walk = walk_at("authorize")
    walk.work(lambda _: done())

    assert walk.ask(interventions.pause)
    walk.answer(Task(2, Side.ACTION), done())

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "OPERATOR_PAUSE")
    assert step(walk, "authorize").action == "SUCCEEDED"
    assert walk.ask(interventions.resume)
    assert done_until_it_rests(walk) == ["capture", "confirm", "send"]


def test_a_pause_keeps_a_backoff():
    walk = walk_at("reserve")
    walk.attempt(transient())
    walk.ask(interventions.pause)

    walk.ask(interventions.resume)

    assert (walk.saga.status, pause_of(walk, "reserve")) == ("WAITING", 4)


def test_a_call_lost_during_a_pause_is_settled_after_it():
    walk = walk_at("authorize")
    walk.work(lambda _: done())
    walk.ask(interventions.pause)
    walk.wait(seconds(60))

    walk.ask(interventions.resume)
    walk.work(lambda _: done())

    assert step(walk, "authorize").action == "UNKNOWN"


def test_what_stopped_during_a_pause_is_told_when_it_is_over():
    walk = walk_at("send")
    walk.work(lambda _: done())
    walk.ask(interventions.pause)
    walk.answer(Task(5, Side.ACTION), refused())
    assert walk.saga.suspend_reason == "OPERATOR_PAUSE"

    assert walk.ask(interventions.resume)

    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "CONTRACT_VIOLATION")


def test_a_saga_paused_on_the_way_back_goes_on_backward():
    walk = walk_at("capture", BEGIN, RESERVE, CAPTURE)
    walk.attempt(refused())
    walk.ask(interventions.pause)

    walk.ask(interventions.resume)

    assert walk.saga.status == "COMPENSATING"
    assert done_until_it_rests(walk) == ["reserve", "place"]


def test_what_does_not_move_is_not_paused():
    walk = walk_at("authorize")
    walk.ask(interventions.pause)

    assert refusal(walk, interventions.pause) == "Nothing of this saga moves; there is nothing to pause."


def test_what_is_not_paused_is_not_resumed():
    assert refusal(walk_at("authorize"), interventions.resume) == "The saga is not paused."


# --- news ---------------------------------------------------------------------------------------


def test_news_end_a_backoff_and_keep_the_budget():
    walk = walk_at("authorize")
    again(walk, unknown(), times=2)

    assert walk.ask(interventions.hurry)

    assert (step(walk, "authorize").failures, walk.saga.wake_at) == (2, walk.now)


def test_news_do_not_move_a_paused_saga():
    walk = walk_at("authorize")
    walk.attempt(unknown())
    walk.ask(interventions.pause)
    before = walk.saga

    assert walk.ask(interventions.hurry)

    assert walk.saga == before
