"""Sagas that somebody can do something about, and somebody who does it."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied

from sagas import operations
from sagas.definition import seconds
from sagas.driver import drain_due
from sagas.exceptions import OperationRefused, StaleVersion, UnknownSaga
from sagas.models import Operation, SagaInstance
from sagas.outcomes import Transient, Unknown
from tests.sagas.conftest import begin_trip
from tests.sagas.operators import staff
from tests.sagas.plans import World
from tests.sagas.rows import snapshot

PERMISSION = {
    "retry": "retry_saga",
    "compensate": "compensate_saga",
    "resolve": "resolve_saga",
    "pause": "pause_saga",
    "resume": "pause_saga",
}
HOUR = Transient("the airline is down", seconds(3600))


def ask(operator: User, saga: SagaInstance, reason: str = "the airline is up again") -> operations.Request:
    """What a page that was just loaded would send."""
    saga.refresh_from_db()
    return operations.Request(uuid4(), operator, reason, saga.version)


def do(name: str, saga: SagaInstance, request: operations.Request, **words: Any) -> Operation:
    """Do an operation as the page would; of a flight nobody knows of it says that it was booked."""
    if name == "resolve":
        words = {"step": "book_flight", "happened": True, "receipt": {"code": "F9"}, **words}
    done: Operation = getattr(operations, name)(saga.pk, request, **words)
    return done


def saga_for(world: World, name: str) -> SagaInstance:
    """A saga to which this operation can be done."""
    accident = {"retry": HOUR, "resolve": Unknown("cut"), "pause": HOUR, "resume": HOUR, "compensate": HOUR}[name]
    world.raises("book_flight", accident)
    if name == "resolve":
        world.raises("find_flight", *[Transient("busy", seconds(3600))] * 3)
    saga = begin_trip()
    drain_due()
    if name == "resolve":
        run_until_it_pauses(saga)
    saga.refresh_from_db()
    if name == "resume":
        operations.pause(saga.pk, ask(staff("peter", "pause_saga"), saga))
    return saga


def run_until_it_pauses(saga: SagaInstance) -> None:
    while not saga.attempts.filter(step="book_flight", number=2).exists():
        drain_due()


def refused(name: str, saga: SagaInstance, request: operations.Request, **words: Any) -> Exception:
    """Why an operation is refused, having seen that nothing was changed."""
    before = snapshot(saga)
    with pytest.raises((OperationRefused, StaleVersion, PermissionDenied, ValueError, UnknownSaga)) as caught:
        do(name, saga, request, **words)
    assert snapshot(saga) == before, "nothing has changed"
    assert not Operation.objects.filter(pk=request.id).exists()
    return caught.value


every_operation = pytest.mark.parametrize("name", list(PERMISSION))
