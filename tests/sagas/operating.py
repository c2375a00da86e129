"""Sagas that somebody can do something about, and somebody who does it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied

from sagas import hooks, operations
from sagas.definition import Pivot, RemoteStep, Saga, seconds
from sagas.driver import drain_due
from sagas.exceptions import OperationRefused, StaleVersion, UnknownSaga
from sagas.models import Operation, SagaInstance
from sagas.outcomes import Refused, Transient, Unknown
from tests.sagas.conftest import begin
from tests.sagas.operators import PERMISSIONS, staff
from tests.sagas.plans import Ctx, Return, Trip, TripData, World, send_papers, soon
from tests.sagas.rows import snapshot

HOUR = Transient("the airline is down", seconds(3600))


def open_door(ctx: Ctx) -> None:
    """A pivot without effect."""


def ask(operator: User, saga: SagaInstance, reason: str = "the airline is up again") -> operations.Request:
    """What a page that was just loaded would send."""
    saga.refresh_from_db()
    return operations.Request(uuid4(), operator, reason, saga.version)


class Visit(Saga[TripData]):
    name, version = "test.visit", 1
    steps = (Pivot(open_door), RemoteStep(send_papers, skippable=True, retry=soon, timeout=seconds(2)))


# What each operation is about, on the saga of `saga_for`.
WORDS: dict[str, dict[str, Any]] = {
    "edit": {"payload": {"number": "T1", "wish": "a window"}},
    "resolve": {"step": "book_flight", "happened": True, "receipt": {"code": "F9"}},
    "confirm": {"step": "book_flight"},
    "reschedule": {"step": "parcel_back", "at": None},
    "skip": {"step": "send_papers"},
    "waive": {"step": "reserve_hotel"},
    "release": {"lock": "trip T1"},
}


def do(name: str, saga: SagaInstance, request: operations.Request, **words: Any) -> Operation:
    """Do an operation as the page would; of a flight nobody knows of it says that it was booked."""
    done: Operation = getattr(operations, name)(saga.pk, request, **{**WORDS.get(name, {}), **words})
    return done


def saga_for(world: World, name: str) -> SagaInstance:
    """A saga to which this operation can be done."""
    plans: dict[str, type[Saga[TripData]]] = {"reschedule": Return, "skip": Visit}
    world.raises("send_papers", Refused("no", "the printer is gone"))
    world.raises("book_flight", Unknown("cut") if name in ("resolve", "confirm") else HOUR)
    if name in ("resolve", "confirm"):
        world.raises("find_flight", *[Transient("busy", seconds(3600))] * 3)
    if name == "waive":
        world.raises("release_hotel", Refused("no", "the hotel keeps the money"))
    saga = begin(plans.get(name, Trip))
    drain_due()
    if name in ("resolve", "confirm"):
        run_until_it_pauses(saga)
    if name == "confirm":
        with much_at_stake():
            do("resolve", saga, ask(staff("peter", "resolve_saga"), saga))
    before = {"resume": "pause", "release": "pause", "waive": "compensate", "review": "abandon"}.get(name)
    if before:
        do(before, saga, ask(staff("peter", PERMISSIONS[before]), saga))
        drain_due()
    saga.refresh_from_db()
    world.script["send_papers"] = []
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


@contextmanager
def much_at_stake() -> Iterator[None]:
    """Every trip is about more money than one person may decide on."""
    hooks.register_stake(Trip.name, lambda datas: [hooks.Stake(1_000_000, "10000.00 EUR")] * len(datas))
    try:
        yield
    finally:
        del hooks._stakes[Trip.name]


every_operation = pytest.mark.parametrize("name", list(PERMISSIONS))
