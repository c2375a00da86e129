"""What a person may do where a saga cannot get on by itself: skip, waive, take a lock, abandon, review."""

from dataclasses import replace

import pytest

from sagas import interventions, machine
from sagas.definition import NoCompensation, Parallel, minutes
from sagas.outcomes import OutcomeKind
from sagas.snapshot import Task
from sagas.states import Side
from sagas.testing import done, refused, unknown
from tests.sagas.checkouts import (
    AUTHORIZE,
    BEGIN,
    CAPTURE,
    CONFIRM,
    RESERVE,
    SEND,
    done_until_it_rests,
    look,
    step,
    walk_at,
)
from tests.sagas.test_interventions import refusal

OPTIONAL = replace(SEND, skippable=True)
DEADLINE = minutes(1)


def planned(walk, name):
    return walk.plan.step(name)


# --- skip ---------------------------------------------------------------------------------------


def test_a_skipped_step_is_passed_with_its_receipt_and_never_undone():
    optional = replace(RESERVE, skippable=True)
    walk = walk_at("reserve", BEGIN, optional, CAPTURE)
    walk.ask(interventions.pause)

    assert walk.ask(interventions.skip, planned(walk, "reserve"), receipt={"code": "R"})

    assert (step(walk, "reserve").action, step(walk, "reserve").receipt) == ("SKIPPED", {"code": "R"})
    assert walk.saga.suspend_reason == "OPERATOR_PAUSE"
    walk.ask(interventions.resume)
    walk.attempt(refused())
    assert done_until_it_rests(walk) == ["place"]
    assert (walk.saga.status, step(walk, "reserve").compensation) == ("COMPENSATED", "NOT_NEEDED")


def test_a_step_that_stopped_the_saga_is_skipped_and_the_saga_goes_on():
    walk = walk_at("send", BEGIN, CAPTURE, OPTIONAL, CONFIRM)
    walk.attempt(refused())
    assert walk.saga.suspend_reason == "CONTRACT_VIOLATION"

    assert walk.ask(interventions.skip, planned(walk, "send"), receipt=None)

    assert walk.saga.status == "RUNNING"
    assert done_until_it_rests(walk) == ["confirm"]
    assert walk.saga.status == "COMPLETED"


def test_what_may_not_be_skipped_says_why():
    walk = walk_at("send", BEGIN, CAPTURE, OPTIONAL, replace(CONFIRM, skippable=True), replace(CONFIRM, action=look))

    def why(name):
        return refusal(walk, interventions.skip, planned(walk, name), receipt=None)

    assert why("send") == "The saga is on its way; pause it first."
    assert why("confirm") == "The saga is not at confirm."
    assert why("look") == "The plan does not let anybody skip look."
    walk.work(lambda _: done())
    assert why("send") == "send is under way; wait for its outcome."
    walk.answer(Task(2, Side.ACTION), unknown())
    assert why("send") == "Nobody knows whether send happened; resolve it."


def test_nothing_is_skipped_on_the_way_back():
    walk = walk_at("capture", BEGIN, replace(RESERVE, skippable=True), CAPTURE)
    walk.attempt(refused())

    assert refusal(walk, interventions.skip, planned(walk, "reserve"), receipt=None) == (
        "The saga goes backward; no action of it is to be skipped."
    )


# --- waive --------------------------------------------------------------------------------------


def test_a_waived_compensation_lets_the_rest_be_undone():
    walk = walk_at("capture")
    walk.attempt(refused())
    walk.attempt(refused())
    assert walk.saga.suspend_reason == "COMPENSATION_FAILED"

    assert walk.ask(interventions.waive, planned(walk, "authorize"))

    assert (walk.saga.status, step(walk, "authorize").compensation) == ("COMPENSATING", "WAIVED")
    assert done_until_it_rests(walk) == ["reserve", "place"]
    assert walk.saga.status == "COMPENSATED"


def test_what_has_no_compensation_can_be_waived():
    walk = walk_at("capture", replace(RESERVE, compensation=None, no_compensation=NoCompensation.SUSPEND), CAPTURE)
    walk.attempt(refused())
    assert walk.saga.suspend_reason == "NO_COMPENSATION"

    assert walk.ask(interventions.waive, planned(walk, "reserve"))

    assert (walk.saga.status, walk.saga.suspend_reason) == ("COMPENSATED", None)


def test_only_what_failed_is_waived():
    walk = walk_at("capture", Parallel(RESERVE, AUTHORIZE), CAPTURE)
    walk.attempt(refused())

    assert refusal(walk, interventions.waive, planned(walk, "reserve")) == (
        "The compensation of reserve has not failed: it is PENDING."
    )


# --- locks --------------------------------------------------------------------------------------


def test_a_saga_that_moves_keeps_its_locks():
    assert refusal(walk_at("authorize"), interventions.release, "order A") == (
        "The saga moves and relies on its locks; pause it first."
    )


def test_a_release_raises_the_generation_and_fences_off_what_is_under_way():
    walk = walk_at("authorize")
    walk.work(lambda _: done())
    walk.ask(interventions.pause)
    before = walk.saga

    assert walk.ask(interventions.release, "order A")

    assert walk.saga.generation == before.generation + 1
    assert (step(walk, "authorize").token, step(walk, "authorize").action) == (0, "UNKNOWN")
    assert (walk.saga.status, walk.saga.suspend_reason) == ("SUSPENDED", "OPERATOR_PAUSE")


@pytest.mark.parametrize("way", [interventions.resume, machine.turn_back])
def test_a_saga_that_lost_a_lock_waits_for_it_whichever_way_it_goes(way):
    walk = walk_at("authorize")
    walk.ask(interventions.pause)
    walk.ask(interventions.release, "order A")

    assert walk.ask(way, *(("cancelled", "why") if way is machine.turn_back else ()))

    assert walk.saga.waiting_on is not None
    assert (walk.saga.waiting_on["kind"], walk.saga.waiting_on["step"]) == ("lock", "order A")
    assert machine.next_task(walk.plan, walk.saga, walk.now) is None
    walk.get_lock()
    assert machine.next_task(walk.plan, walk.saga, walk.now) is not None


def test_a_saga_that_did_nothing_turns_back_without_its_lock():
    walk = walk_at("reserve")
    walk.ask(interventions.pause)
    walk.ask(interventions.release, "order A")

    walk.ask(machine.turn_back, "cancelled", "why")

    assert done_until_it_rests(walk) == ["place"]


def test_in_line_for_a_lost_lock_a_deadline_that_passed_is_no_hot_loop():
    walk = walk_at("confirm", deadline=DEADLINE)
    walk.ask(interventions.pause)
    walk.ask(interventions.release, "order A")
    walk.wait(2 * DEADLINE)

    walk.ask(interventions.resume)

    assert walk.saga.wake_at > walk.now
    assert walk.saga.attention == "the deadline passed after the point of no return"


# --- abandon and review -------------------------------------------------------------------------


def test_abandoning_lists_what_is_left_and_asks_for_attention_until_somebody_looked():
    walk = walk_at("capture")
    walk.attempt(unknown())

    assert walk.ask(interventions.abandon)

    assert walk.saga.status == "ABANDONED"
    assert walk.saga.attention == "abandoned; left behind: place, reserve, authorize, capture (perhaps)"
    assert interventions.review(walk.saga).attention == ""


def test_abandoning_waits_for_no_call():
    walk = walk_at("authorize")
    walk.work(lambda _: done())
    before = walk.saga.generation

    assert walk.ask(interventions.abandon)

    assert (walk.saga.status, walk.saga.generation) == ("ABANDONED", before + 1)
    assert (step(walk, "authorize").action, step(walk, "authorize").token) == ("UNKNOWN", 0)
    assert machine.CUT_OFF.kind is OutcomeKind.LEASE_OVER


def test_what_was_undone_or_only_read_is_not_left_behind():
    walk = walk_at("capture")
    walk.attempt(refused())
    walk.attempt(done())
    assert step(walk, "authorize").compensation == "SUCCEEDED"

    walk.ask(interventions.abandon)

    assert walk.saga.attention == "abandoned; left behind: place, reserve"


def test_what_has_ended_is_neither_abandoned_nor_skipped():
    walk = walk_at("send", BEGIN, CAPTURE, OPTIONAL)
    walk.attempt(done())

    ended = "The saga has ended: COMPLETED."
    assert refusal(walk, interventions.abandon) == ended
    assert refusal(walk, interventions.skip, planned(walk, "send"), receipt=None) == ended
    assert refusal(walk, interventions.waive, planned(walk, "send")) == ended
    assert refusal(walk, interventions.reschedule, planned(walk, "send"), at=None) == ended


def test_a_lock_that_a_saga_kept_beyond_its_end_can_be_released_and_changes_nothing_of_it():
    walk = walk_at("send", BEGIN, CAPTURE, OPTIONAL)
    walk.attempt(done())

    assert interventions.release(walk.plan, walk.saga, "order A", walk.now) == walk.saga


def test_there_is_nothing_to_review_where_nothing_asks_for_it():
    walk = walk_at("send")
    assert interventions.why_not_review(walk.saga) == (
        "The saga has not ended; what it raises attention for goes with its cause."
    )
    walk.attempt(done())
    assert interventions.why_not_review(walk.saga) == "Nothing of this saga asks for attention."
