"""What comes of each operation, what is offered, and what the operator is told."""

import threading

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connections

from sagas import operations
from sagas.definition import Retry, Step, registry
from sagas.driver import drain_due
from sagas.engine import work
from sagas.exceptions import OperationRefused
from sagas.options import options
from sagas.outcomes import Refused
from sagas.services import turn_back, wake
from tests.sagas.conftest import begin, begin_trip, run
from tests.sagas.operating import HOUR, ask, do, every_operation, refused, saga_for
from tests.sagas.operators import PERMISSIONS, staff
from tests.sagas.plans import Trip, World
from tests.sagas.rows import moves, outcomes, snapshot, statuses, step_of

# --- what each of them does -------------------------------------------------------------------------


def test_a_retry_ends_the_pause_and_the_saga_completes(world: World, operator):
    saga = saga_for(world, "retry")

    do("retry", saga, ask(operator, saga))
    run()

    saga.refresh_from_db()
    assert (saga.status, outcomes(saga, "book_flight")) == ("COMPLETED", ["TRANSIENT", "DONE"])


def test_resolving_takes_over_what_happened_with_its_receipt(world: World, operator):
    saga = saga_for(world, "resolve")
    asked = world.calls["find_flight"]

    do("resolve", saga, ask(operator, saga))
    run()

    saga.refresh_from_db()
    assert (saga.status, step_of(saga, "book_flight").receipt) == ("COMPLETED", {"code": "F9"})
    assert world.calls["find_flight"] == asked


def test_resolving_what_did_not_happen_tries_again(world: World, operator):
    saga = saga_for(world, "resolve")

    operations.resolve(saga.pk, ask(operator, saga), step="book_flight", happened=False)
    run()

    saga.refresh_from_db()
    assert saga.status == "COMPLETED"
    assert moves(saga, "action", "book_flight")[-3:] == [
        ("UNKNOWN", "PENDING"),
        ("PENDING", "RUNNING"),
        ("RUNNING", "SUCCEEDED"),
    ]


@pytest.mark.parametrize(
    ("step", "receipt", "sentence"),
    [
        ("book_flight", {"kode": "F9"}, "This is not a receipt of book_flight: Object missing required field `code`."),
        ("book_flight", None, "This is not a receipt of book_flight: Expected `object`, got `null`."),
        ("no_such_step", None, "This saga has no step 'no_such_step'."),
        ("reserve_seat", None, "This is not a receipt of reserve_seat: Expected `object`, got `null`."),
        ("reserve_seat", {"code": "x"}, "The outcome of reserve_seat is not unknown: it is SUCCEEDED."),
        ("book_flight", {"code": "a\x00b"}, "What you entered cannot be stored; look for invisible characters."),
    ],
)
def test_a_resolution_that_does_not_fit_is_refused(world: World, operator, step, receipt, sentence):
    saga = saga_for(world, "resolve")

    error = refused("resolve", saga, ask(operator, saga), step=step, receipt=receipt)

    assert str(error) == sentence


def test_a_saga_set_aside_goes_on_when_the_cause_is_mended(world: World, operator, define):
    mended = []

    def demand(ctx) -> None:
        if not mended:
            raise KeyError("x")

    saga = begin(define(Step(demand, reads_only=True, retry=Retry(attempts=1))))
    run()
    saga.refresh_from_db()
    assert saga.suspend_reason == "RETRIES_EXHAUSTED"

    mended.append(True)
    do("retry", saga, ask(operator, saga))
    run()

    saga.refresh_from_db()
    assert (saga.status, saga.attention) == ("COMPLETED", "")


def test_a_saga_whose_code_is_back_is_resumed(world: World, no_deploy: None, operator):
    saga = begin_trip()
    plan = registry.pop(("test.trip", 1))
    work(saga.pk)
    saga.refresh_from_db()
    assert saga.suspend_reason == "DEFINITION_MISMATCH"
    assert str(refused("resume", saga, ask(operator, saga))) == (
        "The code that is running has no plan that continues this saga; deploy one first."
    )

    registry["test.trip", 1] = plan
    do("resume", saga, ask(operator, saga))
    run()

    saga.refresh_from_db()
    assert saga.status == "COMPLETED"


@pytest.mark.parametrize("name", ["retry", "compensate", "pause", "resume"])
def test_nothing_is_done_to_what_has_ended(world: World, operator, name):
    saga = begin_trip()
    run()

    assert isinstance(refused(name, saga, ask(operator, saga)), OperationRefused)


def test_after_the_pivot_a_saga_is_not_turned_back(world: World, operator):
    world.raises("send_papers", HOUR)
    saga = begin_trip()
    drain_due()

    error = refused("compensate", saga, ask(operator, saga))

    assert str(error) == "The saga cannot be turned back: its pivot has passed."


# --- what is open -----------------------------------------------------------------------------------


@every_operation
def test_what_is_offered_is_what_is_accepted(world: World, operator, name):
    saga = saga_for(world, name)

    offered = {option.name: option.why_not for option in options(saga.pk, operator)}

    assert list(offered) == list(PERMISSIONS)
    assert offered[name] == ""
    for other, why_not in offered.items():
        if why_not:
            assert isinstance(refused(other, saga, ask(operator, saga)), OperationRefused)


def test_only_unknown_steps_are_offered_to_be_resolved(world: World, operator):
    saga = saga_for(world, "resolve")

    assert [option.targets for option in options(saga.pk, operator) if option.name == "resolve"] == [("book_flight",)]


def test_nothing_is_offered_to_who_may_nothing(world: World):
    saga = saga_for(world, "retry")

    for nobody in (staff("nora"), AnonymousUser()):
        assert [option.why_not for option in options(saga.pk, nobody)] == [
            f"You may not {name} sagas." for name in PERMISSIONS
        ]


# --- what came of it ----------------------------------------------------------------------------------


def followed(operation, *, by=drain_due):
    """What is told while somebody drives."""
    worker = threading.Thread(target=in_own_connection(by))
    worker.start()
    try:
        return operations.follow(operation, seconds=5)
    finally:
        worker.join()


def in_own_connection(function):
    def run_and_close():
        try:
            function()
        finally:
            connections.close_all()

    return run_and_close


def test_a_retry_that_works_is_told_with_its_end(world: World, operator):
    saga = saga_for(world, "retry")

    told = followed(do("retry", saga, ask(operator, saga)))

    assert told == "send_papers came out DONE. Done."


def test_a_retry_that_fails_again_is_told_with_why_and_until_when(world: World, operator):
    saga = saga_for(world, "retry")
    world.raises("book_flight", HOUR)

    told = followed(do("retry", saga, ask(operator, saga)))

    assert told.startswith("book_flight came out TRANSIENT: the airline is down. Pauses before it tries book_flight")
    assert told.endswith("Last answer: the airline is down")


def test_a_compensation_that_cannot_work_is_told(world: World, operator):
    saga = saga_for(world, "compensate")
    world.raises("release_hotel", Refused("no", "the hotel keeps the money"))

    told = followed(do("compensate", saga, ask(operator, saga)))

    assert told == (
        "The compensation of reserve_hotel came out REFUSED: the hotel keeps the money. "
        "A compensation failed for good, so an effect is still there. reserve_hotel: the hotel keeps the money"
    )


def test_a_pause_is_told_at_once(world: World, operator):
    saga = saga_for(world, "pause")

    assert operations.follow(do("pause", saga, ask(operator, saga)), seconds=0).startswith("An operator paused it.")


def test_without_a_worker_nobody_is_told_that_it_worked(world: World, operator):
    saga = saga_for(world, "retry")

    told = operations.follow(do("retry", saga, ask(operator, saga)), seconds=0.1)

    assert told == "No worker has taken it up yet; are the workers running? Going forward: at book_flight."


# --- from outside -------------------------------------------------------------------------------------


def test_news_wake_a_saga_that_pauses_and_no_other(world: World):
    saga = saga_for(world, "retry")
    wake("test.trip", "T1", why="a webhook")
    wake("test.trip", "nobody", why="a webhook")
    run()

    saga.refresh_from_db()
    assert saga.status == "COMPLETED"
    before = snapshot(saga)
    wake("test.trip", "T1", why="a webhook")
    assert snapshot(saga) == before


def test_a_cancel_turns_a_saga_back_once_and_never_past_its_pivot(world: World):
    saga = saga_for(world, "compensate")

    assert turn_back(Trip, "T1", why="changed my mind") is True
    saga.refresh_from_db()
    before = snapshot(saga)
    assert turn_back(Trip, "T1", why="changed my mind") is True
    assert snapshot(saga) == before
    run()
    assert turn_back(Trip, "T1", why="changed my mind") is False
    assert turn_back(Trip, "nobody", why="changed my mind") is False
    saga.refresh_from_db()
    assert (saga.status, set(statuses(saga)["book_flight"])) == ("COMPENSATED", {"FAILED", "NOT_NEEDED"})
