"""Time limits and due dates are moved and cancelled; of a timer, a signal and a move at one moment the first wins."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils.timezone import now

from sagas import services
from sagas.definition import AwaitPerson, Parallel, Pivot
from sagas.driver import drain_due
from sagas.models import SagaInstance, Signal
from sagas.selectors import waiting_words
from sagas.steps import StepFunction
from tests.racing import race
from tests.sagas.conftest import begin
from tests.sagas.operating import ask, do, refused
from tests.sagas.plans import Ctx, Return, World, cool_off, effects, give_money_back, inspection, parcel_back
from tests.sagas.rows import end_backoff, snapshot, step_of
from tests.sagas.test_signals import (
    begin_return,
    let_time_pass,
    outcome_of_audit,
    status_of,
    tell_inspection,
    tell_parcel,
)

DAY = timedelta(days=1)


def move(step: StepFunction, by: timedelta | None, key: str = "R1") -> bool:
    return services.reschedule(Return, key, step, None if by is None else now() + by, why="asked for")


def waiting_return() -> SagaInstance:
    """A return that waits for its parcel, an hour at most."""
    saga = begin_return()
    drain_due()
    return saga


# --- moved and cancelled --------------------------------------------------------------------------


def test_a_limit_that_was_moved_lets_the_saga_wait_longer(world: World):
    saga = waiting_return()

    assert move(parcel_back, DAY)
    let_time_pass(saga, minutes=61)
    drain_due()

    assert status_of(saga) == ("WAITING", "signal")
    let_time_pass(saga, hours=24)
    drain_due()
    assert status_of(saga) == ("COMPENSATED", "")
    assert saga.failure["code"] == "timed_out"


def test_a_limit_moved_to_now_is_over_in_that_commit(world: World):
    saga = waiting_return()

    assert move(parcel_back, timedelta(0))

    assert status_of(saga) == ("COMPENSATED", "")
    assert outcome_of_audit() == ([], [])


def test_a_cancelled_limit_never_ends_the_wait_and_the_saga_says_so(world: World):
    saga = waiting_return()

    assert move(parcel_back, None)

    assert (status_of(saga), saga.wake_at) == (("WAITING", "signal"), None)
    assert waiting_words(saga) == "Waits for parcel_back."
    assert outcome_of_audit() == ([], [])
    tell_parcel()
    drain_due()
    assert effects("R1") == ["parcel 3"]


def test_a_new_due_date_takes_the_attention_of_the_old_one_away(world: World):
    saga = waiting_return()
    tell_parcel()
    drain_due()
    let_time_pass(saga, minutes=11)
    drain_due()
    saga.refresh_from_db()
    assert saga.attention == "inspection is overdue"

    assert move(inspection, DAY)

    saga.refresh_from_db()
    assert saga.attention == ""
    assert waiting_words(saga).startswith("Waits for a person: inspection, due ")


def test_a_wait_that_is_overdue_asks_for_attention_after_a_pause_as_before(world: World, operator: User):
    saga = waiting_return()
    tell_parcel()
    drain_due()
    let_time_pass(saga, minutes=11)
    drain_due()

    do("pause", saga, ask(operator, saga))
    do("resume", saga, ask(operator, saga))

    saga.refresh_from_db()
    assert (status_of(saga), saga.attention) == (("WAITING", "human"), "inspection is overdue")
    tell_inspection()
    drain_due()
    saga.refresh_from_db()
    assert saga.attention == ""


def first_signature(ctx: Ctx, name: str) -> None:
    """One of two that have to sign, in any order."""


def second_signature(ctx: Ctx, name: str) -> None:
    """The other one."""


def test_what_goes_well_beside_a_wait_that_is_overdue_does_not_end_its_attention(world: World, define):
    limit: dict[str, Any] = {"within": timedelta(minutes=1), "reads_only": True}
    both = Parallel(AwaitPerson(first_signature, **limit), AwaitPerson(second_signature, **limit))
    plan = define(both, Pivot(cool_off))
    saga = begin(plan)
    drain_due()
    let_time_pass(saga, minutes=2)
    drain_due()
    saga.refresh_from_db()
    assert saga.attention == "first_signature is overdue; second_signature is overdue"

    services.signal(plan, "T1", second_signature, "Ada", dedup_id="1")
    drain_due()

    saga.refresh_from_db()
    assert (saga.status, saga.attention) == ("WAITING", "first_signature is overdue")
    services.signal(plan, "T1", first_signature, "Bob", dedup_id="1")
    drain_due()
    saga.refresh_from_db()
    assert (saga.status, saga.attention) == ("COMPLETED", "")


def cooling_return() -> SagaInstance:
    """A return that waits for nothing but its time."""
    saga = waiting_return()
    tell_parcel()
    tell_inspection()
    drain_due()
    assert status_of(saga) == ("WAITING", "timer")
    return saga


def test_a_timer_moved_to_now_fires(world: World):
    saga = cooling_return()

    assert move(cool_off, timedelta(0))
    drain_due()

    assert status_of(saga) == ("COMPLETED", "")


def test_a_timer_that_nothing_else_would_end_cannot_be_cancelled(world: World, operator: User):
    saga = cooling_return()

    assert not move(cool_off, None)
    error = refused("reschedule", saga, ask(operator, saga), step="cool_off", at=None)

    assert str(error) == "cool_off waits for nothing but its time; move that to now instead."


def test_an_operator_moves_a_limit_of_a_paused_saga_and_both_times_are_kept(world: World, operator: User):
    saga = waiting_return()
    before, later = step_of(saga, "parcel_back").due_at, now() + DAY
    assert before is not None
    do("pause", saga, ask(operator, saga))

    done = do("reschedule", saga, ask(operator, saga), step="parcel_back", at=later)

    assert done.detail == {"from": before.isoformat(), "to": later.isoformat()}
    assert (done.status_after, step_of(saga, "parcel_back").due_at) == ("SUSPENDED", later)
    do("resume", saga, ask(operator, saga))
    assert status_of(saga) == ("WAITING", "signal")


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("ask_for_return", "ask_for_return does not wait for a signal, a person or a time now: it is SUCCEEDED."),
        ("inspection", "inspection does not wait for a signal, a person or a time now: it is PENDING."),
        ("no_such_step", "This saga has no step 'no_such_step'."),
    ],
)
def test_what_does_not_wait_has_no_limit_to_be_moved(world: World, operator: User, step: str, sentence: str):
    saga = waiting_return()

    assert str(refused("reschedule", saga, ask(operator, saga), step=step)) == sentence


def test_a_backoff_is_not_moved_but_retried(world: World, operator: User):
    world.raises("parcel_back", RuntimeError("the shelf is full"))
    saga = waiting_return()
    tell_parcel()
    drain_due()

    assert str(refused("reschedule", saga, ask(operator, saga))) == "parcel_back pauses after a failure; retry it."


@pytest.mark.parametrize(("step", "key"), [(give_money_back, "R1"), (first_signature, "R1"), (parcel_back, "nobody")])
def test_code_is_told_that_there_was_nothing_to_move(world: World, step: Callable[..., Any], key: str):
    saga = waiting_return()
    before = snapshot(saga)

    assert not move(step, DAY, key)

    assert snapshot(saga) == before


# --- at the same moment ---------------------------------------------------------------------------


def test_who_moves_a_limit_after_it_was_taken_up_is_told_so(world: World):
    saga = waiting_return()
    let_time_pass(saga, minutes=61)
    drain_due()
    before = snapshot(saga)

    assert not move(parcel_back, DAY)

    assert snapshot(saga) == before


def test_who_moves_a_limit_after_the_signal_came_is_told_so(world: World, operator: User):
    saga = waiting_return()
    tell_parcel()

    assert not move(parcel_back, DAY)
    assert str(refused("reschedule", saga, ask(operator, saga))) == "What parcel_back waits for has come."


def test_a_limit_that_is_over_but_not_taken_up_can_still_be_moved(world: World):
    saga = waiting_return()
    let_time_pass(saga, minutes=61)

    assert move(parcel_back, DAY)
    drain_due()

    assert status_of(saga) == ("WAITING", "signal")


@pytest.mark.parametrize("round_", range(8))
def test_of_a_timer_a_signal_and_a_move_the_first_wins_and_the_others_are_accounted_for(world: World, round_: int):
    saga = waiting_return()
    end_backoff(saga)  # due just now: what is late is taken up with care, a moment later

    drained, told, moved = race([drain_due, tell_parcel, lambda: move(parcel_back, DAY)])
    drain_due()

    assert told is True
    assert not isinstance(drained, Exception)
    status, kind = status_of(saga)
    signal = Signal.objects.get()
    if status == "COMPENSATED":  # the timer was first
        assert moved is False
        assert (signal.late, signal.consumed_at, effects("R1")) == ("ATTENTION", None, [])
        assert saga.attention == "the signal parcel_back came after the end"
    else:
        assert (status, kind) == ("WAITING", "human")
        assert (signal.late, effects("R1")) == ("", ["parcel 3"])
        assert signal.consumed_at is not None
        assert moved in (True, False)
    assert outcome_of_audit() == ([], [])
