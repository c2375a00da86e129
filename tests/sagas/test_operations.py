"""What every operation needs: a permission, a reason, a fresh page, an id; and that it is done once."""

from dataclasses import replace
from uuid import uuid4

import pytest
from django.core.exceptions import PermissionDenied

from sagas import operations
from sagas.engine import record
from sagas.exceptions import ActionIdReused, StaleVersion, UnknownSaga
from tests.racing import race
from tests.sagas.conftest import begin_call, begin_trip, run
from tests.sagas.operating import ask, do, every_operation, refused, saga_for
from tests.sagas.operators import PERMISSIONS, staff
from tests.sagas.plans import World, effects
from tests.sagas.rows import held, snapshot, step_of

# --- what each of them needs ----------------------------------------------------------------------


@every_operation
def test_an_operation_is_one_commit_with_its_audit_and_its_events(world: World, operator, name):
    saga = saga_for(world, name)
    request = ask(operator, saga, "because")
    before = saga.status

    done = do(name, saga, request)

    saga.refresh_from_db()
    assert (done.pk, done.saga_id, done.name, done.actor, done.reason) == (
        request.id,
        saga.pk,
        name,
        operator,
        "because",
    )
    assert (done.status_before, done.status_after) == (before, saga.status)
    assert done.version_after == saga.version == request.version + 1
    if name not in ("reschedule", "release", "review"):  # they change no status
        event = saga.events.order_by("id").last()
        assert (event.actor, event.why) == ("operator olga", "because")


@every_operation
def test_an_operation_needs_its_own_permission(world: World, name):
    saga = saga_for(world, name)
    others = staff("otto", *(p for p in PERMISSIONS.values() if p != PERMISSIONS[name]))

    error = refused(name, saga, ask(others, saga))

    assert isinstance(error, PermissionDenied)
    assert str(error) == f"You may not {name} sagas."


@every_operation
def test_an_operation_needs_a_reason(world: World, operator, name):
    saga = saga_for(world, name)

    error = refused(name, saga, ask(operator, saga, reason="  "))

    assert str(error) == "Say why: the reason is kept with the saga."


@every_operation
def test_an_operation_on_a_stale_page_is_refused_with_the_version_of_now(world: World, operator, name):
    saga = saga_for(world, name)
    request = ask(operator, saga)

    error = refused(name, saga, replace(request, version=request.version - 1))

    assert isinstance(error, StaleVersion)
    assert error.version == request.version


def test_an_inactive_operator_may_do_nothing(world: World, operator):
    saga = saga_for(world, "retry")
    operator.is_active = False

    assert isinstance(refused("retry", saga, ask(operator, saga)), PermissionDenied)


def test_there_is_nothing_to_do_to_a_saga_that_is_not_there(world: World, operator):
    request = operations.Request(uuid4(), operator, "because", 1)

    with pytest.raises(UnknownSaga):
        operations.retry(uuid4(), request)


# --- once ---------------------------------------------------------------------------------------


@every_operation
def test_a_double_click_is_one_operation(world: World, operator, name):
    saga = saga_for(world, name)
    request = ask(operator, saga)
    first = do(name, saga, request)
    before = snapshot(saga)

    second = do(name, saga, request)

    assert second == first
    assert snapshot(saga) == before


@every_operation
def test_clicks_at_the_same_moment_are_one_operation(world: World, operator, name):
    saga = saga_for(world, name)
    request = ask(operator, saga)

    results = race([lambda: do(name, saga, request)] * 4)

    assert {result.pk for result in results} == {request.id}
    saga.refresh_from_db()
    assert saga.version == request.version + 1


def test_of_two_operators_at_the_same_moment_one_is_told_that_the_page_is_stale(world: World, operator):
    saga = saga_for(world, "retry")
    requests = [ask(operator, saga), ask(staff("otto", "compensate_saga"), saga)]

    results = race([lambda: do("retry", saga, requests[0]), lambda: do("compensate", saga, requests[1])])

    assert sorted(type(result).__name__ for result in results) == ["Operation", "StaleVersion"]


@pytest.mark.parametrize("changed", ["saga", "operation", "actor"])
def test_an_id_that_came_before_with_something_else_is_refused(world: World, operator, changed):
    saga = saga_for(world, "retry")
    request = ask(operator, saga)
    do("retry", saga, request)
    other = begin_trip("T2") if changed == "saga" else saga
    request = replace(request, actor=staff("otto", *PERMISSIONS.values())) if changed == "actor" else request
    before = snapshot(other)

    with pytest.raises(ActionIdReused):
        do("pause" if changed == "operation" else "retry", other, request)

    assert snapshot(other) == before


# --- beside a worker ------------------------------------------------------------------------------


def test_while_a_worker_holds_the_row_the_operator_is_asked_to_try_again(world: World, operator, short_patience):
    saga = saga_for(world, "pause")
    request = ask(operator, saga)

    with held(saga):
        error = refused("pause", saga, request)

    assert str(error) == "A worker is at this saga right now; try again in a moment."
    do("pause", saga, request)


def test_an_operation_during_a_call_does_not_lose_its_answer(world: World, operator):
    saga = begin_trip()
    call = begin_call(saga)

    do("pause", saga, ask(operator, saga))
    record(call, call.make())

    saga.refresh_from_db()
    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "OPERATOR_PAUSE")
    assert step_of(saga, "book_flight").action == "SUCCEEDED"
    do("resume", saga, ask(operator, saga))
    run()
    saga.refresh_from_db()
    assert saga.status == "COMPLETED"


def test_turning_back_during_a_call_undoes_what_it_did(world: World, operator):
    saga = begin_trip()
    call = begin_call(saga)

    do("compensate", saga, ask(operator, saga))
    record(call, call.make())
    run()

    saga.refresh_from_db()
    assert (saga.status, effects("T1")) == ("COMPENSATED", ["forgotten"])
    assert world.cancelled == set(world.booked)
    assert saga.failure == {
        "step": "",
        "code": "operator",
        "message": "an operator turned it back: the airline is up again",
    }
