"""Edit and retry: other data, validated and written down, and new idempotency keys."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from sagas import interventions, operations
from sagas.driver import drain_due
from sagas.exceptions import OperationRefused
from sagas.outcomes import Refused
from sagas.testing import transient, unknown
from tests.sagas.checkouts import again, step, walk_at
from tests.sagas.conftest import begin, begin_call, begin_trip, run
from tests.sagas.operating import HOUR, Visit, ask, do, refused, saga_for
from tests.sagas.operators import bank_is_itself_again
from tests.sagas.plans import World
from tests.sagas.rows import snapshot, statuses
from tests.sagas.together import execute

__all__ = ["bank_is_itself_again"]


def test_an_edit_changes_the_data_says_what_was_different_and_goes_on(world: World, operator: User) -> None:
    saga = saga_for(world, "edit")

    done = do("edit", saga, ask(operator, saga))
    run()

    saga.refresh_from_db()
    assert (saga.data, saga.edits, saga.status) == ({"number": "T1", "wish": "a window"}, 1, "COMPLETED")
    assert done.detail == {"changed": [{"field": "wish", "from": "", "to": "a window"}]}


def test_what_is_called_after_an_edit_has_a_new_key_and_keeps_it(world: World, operator: User) -> None:
    saga = saga_for(world, "edit")
    world.raises("book_flight", HOUR)

    do("edit", saga, ask(operator, saga))
    drain_due()
    do("retry", saga, ask(operator, saga))
    run()

    keys = list(saga.attempts.filter(step="book_flight").order_by("number").values_list("idempotency_key", flat=True))
    old, new = f"{saga.pk}:book_flight:action", f"{saga.pk}:book_flight:action:edit1"
    assert keys == [old, new, new]
    assert list(world.booked) == [new]


def test_a_step_past_the_pivot_that_was_refused_is_tried_again_with_other_data(world: World, operator: User) -> None:
    world.raises("send_papers", Refused("no", "no such street"))
    saga = begin(Visit)
    run()
    saga.refresh_from_db()
    assert (saga.suspend_reason, statuses(saga)["send_papers"][0]) == ("CONTRACT_VIOLATION", "FAILED")

    do("edit", saga, ask(operator, saga))
    run()

    saga.refresh_from_db()
    assert (saga.status, world.sent) == ("COMPLETED", {f"{saga.pk}:send_papers:action:edit1"})


def test_while_nobody_knows_an_outcome_the_data_stays(world: World, operator: User) -> None:
    saga = saga_for(world, "resolve")

    error = refused("edit", saga, ask(operator, saga))

    assert str(error).startswith("Nobody knows what became of a step: with a new key it could be done twice.")


def test_while_a_call_is_under_way_the_data_stays(world: World, operator: User) -> None:
    saga = begin_trip()
    begin_call(saga)

    assert str(refused("edit", saga, ask(operator, saga))) == "A call is under way; wait for its outcome."


def test_data_that_the_code_no_longer_reads_can_be_put_right(world: World, operator: User) -> None:
    saga = begin_trip()
    execute('UPDATE sagas_sagainstance SET data = \'{"called": "T1"}\'')
    run()
    saga.refresh_from_db()
    assert saga.suspend_reason == "RETRIES_EXHAUSTED"

    why = refused("edit", saga, ask(operator, saga), payload={"number": "T2"})
    assert str(why) == "The saga holds trip T1; keep that."
    done = do("edit", saga, ask(operator, saga), payload={"number": "T1"})
    run()

    saga.refresh_from_db()
    assert (saga.status, saga.data) == ("COMPLETED", {"number": "T1"})
    assert {"field": "called", "from": "T1", "to": None} in done.detail["changed"]


def test_a_saga_whose_data_cannot_be_read_gets_in_no_line_and_says_why(world: World, operator: User) -> None:
    saga = saga_for(world, "release")
    do("release", saga, ask(operator, saga))
    execute("UPDATE sagas_sagainstance SET data = '{}'")

    why = refused("resume", saga, ask(operator, saga))

    assert str(why).startswith("The code that runs cannot read the data of this saga: Object missing required field")


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ({"wish": "x"}, "This is not the data of test.trip: Object missing required field `number`."),
        ({"number": "T1", "wish": 5}, "This is not the data of test.trip: Expected `str`, got `int` - at `$.wish`."),
        ({"number": "T1", "wish": ""}, "Nothing of the data is different; retry the saga instead."),
        ({"number": "T2", "wish": ""}, "The saga holds trip T1; keep that."),
        ([], "This is not the data of test.trip: Expected `object`, got `array`."),
    ],
)
def test_data_that_does_not_fit_is_refused_with_the_field(
    world: World, operator: User, payload: Any, sentence: str
) -> None:
    saga = saga_for(world, "edit")

    error = refused("edit", saga, ask(operator, saga), payload=payload)

    assert isinstance(error, OperationRefused)
    assert str(error) == sentence


def test_what_goes_backward_is_undone_with_the_data_it_was_done_with(world: World, operator: User) -> None:
    saga = saga_for(world, "waive")
    before = snapshot(saga)

    with pytest.raises(OperationRefused, match="undone with the data it was done with"):
        operations.edit(saga.pk, ask(operator, saga), payload={"number": "T1", "wish": "x"})

    assert snapshot(saga) == before


def test_an_edit_starts_the_budget_of_what_failed_anew() -> None:
    walk = walk_at("authorize")
    again(walk, transient(), times=2)

    assert walk.ask(interventions.edit)

    state = step(walk, "authorize")
    assert (state.action, state.failures, state.error, state.action_attempts) == ("PENDING", 0, "", 2)


def test_what_failed_in_no_way_is_not_edited() -> None:
    walk = walk_at("authorize")
    assert interventions.why_not_edit(walk.saga) == "No step of this saga has failed."

    walk.attempt(unknown())

    assert interventions.why_not_edit(walk.saga).startswith("Nobody knows")
