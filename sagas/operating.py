"""How an operation is done: check, do, write down, in one commit. What each of them does stands in `operations`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import DataError, OperationalError, transaction
from msgspec.structs import replace
from psycopg.errors import LockNotAvailable

from sagas import denials, locks, machine, store, writing
from sagas.attempts import attempt_row
from sagas.exceptions import ActionIdReused, OperationRefused, StaleVersion, UnknownSaga
from sagas.jobs import hint
from sagas.models import Operation
from sagas.plan import Plan, PlannedStep
from sagas.snapshot import SagaState, Task
from sagas.states import CompensationStatus, SagaStatus, Side
from sagas.store import LoadedSaga
from sagas.writing import Attempt, Move

PERMISSIONS = {
    "retry": "sagas.retry_saga",
    "edit": "sagas.edit_saga",
    "compensate": "sagas.compensate_saga",
    "resolve": "sagas.resolve_saga",
    "confirm": "sagas.resolve_saga",
    "pause": "sagas.pause_saga",
    "resume": "sagas.pause_saga",
    "reschedule": "sagas.reschedule_saga",
    "skip": "sagas.skip_saga",
    "waive": "sagas.waive_saga",
    "release": "sagas.release_saga",
    "abandon": "sagas.abandon_saga",
    "review": "sagas.review_saga",
}

BUSY = "A worker is at this saga right now; try again in a moment."


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks, why, on the ground of which version; ``id`` makes a double click one operation."""

    id: UUID
    actor: User
    reason: str
    version: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What an operation makes of a saga: its state, what is written down, a lock that it loses, data that it gets.

    ``then`` writes what belongs into the same commit.
    """

    after: SagaState
    detail: dict[str, Any] = field(default_factory=dict)
    lock: str = ""
    data: Any = None
    then: Callable[[], object] | None = None


class AnotherPerson(machine.NotAllowed):
    """Whoever proposed something does not confirm it."""


def require(actor: User, name: str, saga_id: UUID | None, target: str = "") -> None:
    """Raise `PermissionDenied` for who may not do this, and write down that it was tried."""
    if not actor.has_perm(PERMISSIONS[name]):
        why = f"You may not {name} sagas."
        denials.write_down(actor, name, why, saga_id=saga_id, target=target)
        raise PermissionDenied(why)


def operate(
    name: str, saga_id: UUID, request: Request, transition: Callable[[LoadedSaga], Effect], *, target: str = ""
) -> Operation:
    """Do it once, in one commit with its audit row. The second call with the same id returns the first.

    Raises `PermissionDenied`, `ValueError` without a reason, `UnknownSaga`, `StaleVersion` and
    `OperationRefused`; nothing has changed then.
    """
    require(request.actor, name, saga_id, target)
    if not request.reason.strip():
        raise ValueError("Say why: the reason is kept with the saga.")
    try:
        with refusals(), transaction.atomic(durable=True):
            return _commit(name, saga_id, request, transition, target)
    except OperationRefused as refused:
        if isinstance(refused.__cause__, AnotherPerson):
            denials.write_down(request.actor, name, str(refused), saga_id=saga_id, target=target)
        raise


def _commit(
    name: str, saga_id: UUID, request: Request, transition: Callable[[LoadedSaga], Effect], target: str
) -> Operation:
    saga = store.lock(saga_id)
    if saga is None:
        raise UnknownSaga(str(saga_id))
    done = Operation.objects.filter(pk=request.id).first()
    if done is not None:
        asked = (saga_id, name, request.actor.pk, done.step and target)
        if (done.saga_id, done.name, done.actor_id, done.step) != asked:
            raise ActionIdReused("This action id was used for something else; load the page again.")
        return done
    if saga.version != request.version:
        raise StaleVersion(saga.version)
    effect = transition(saga)
    after = _with_locks(saga, effect.after)
    move = Move(saga, after, _cut_off(saga, after), f"operator {request.actor}", request.reason)
    written = writing.write([move])[0]
    if effect.lock:
        locks.release([saga_id], [effect.lock])
    if effect.data is not None:
        writing.replace_data(saga_id, effect.data)
    if effect.then is not None:
        effect.then()
    operation = Operation.objects.create(
        id=request.id,
        saga_id=saga_id,
        name=name,
        step="" if effect.lock else target,
        actor=request.actor,
        reason=request.reason,
        detail=effect.detail,
        status_before=saga.state.status,
        status_after=after.status,
        version_after=written.version,
        at=saga.now,
    )
    transaction.on_commit(hint, robust=True)
    return operation


def _with_locks(saga: LoadedSaga, after: SagaState) -> SagaState:
    """A saga that moves again after it lost a lock takes it in this commit, or gets in line."""
    if saga.plan is None or after.terminal or after.status is SagaStatus.SUSPENDED or not machine.is_in_line(after):
        return after
    blocked_on = locks.take_or_wait(saga.plan, saga.data, saga.id, after)
    return machine.advance(saga.plan, replace(after, blocked_on=blocked_on), saga.now)


def _cut_off(saga: LoadedSaga, after: SagaState) -> tuple[Attempt, ...]:
    """The end of the attempts that an operation waits for no longer."""
    rows = []
    for position, state in enumerate(saga.state.steps):
        if state.in_flight and not after.steps[position].in_flight:
            side = Side.COMPENSATION if state.compensation is CompensationStatus.RUNNING else Side.ACTION
            number = state.attempts(side)
            rows.append(attempt_row(saga, Task(position, side), number, state.token, machine.CUT_OFF))
    return tuple(rows)


@contextmanager
def refusals() -> Iterator[None]:
    """What keeps an operation from being done, in words for the person who asked for it."""
    try:
        yield
    except machine.NotAllowed as error:
        raise OperationRefused(str(error)) from error
    except msgspec.ValidationError as error:
        raise OperationRefused(f"The code that runs cannot read the data of this saga: {error}.") from error
    except DataError as error:
        raise OperationRefused("What you entered cannot be stored; look for invisible characters.") from error
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise OperationRefused(BUSY) from error
        raise


def plan_of(saga: LoadedSaga) -> Plan:
    if saga.plan is None:
        raise machine.NotAllowed("The code that is running has no plan that continues this saga; deploy one first.")
    return saga.plan


def step_of(saga: LoadedSaga, name: str) -> PlannedStep:
    for planned in plan_of(saga).steps:
        if planned.name == name:
            return planned
    raise machine.NotAllowed(f"This saga has no step {name!r}.")
