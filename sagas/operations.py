"""What people may do to a saga. Shared by admin, API and commands: check, do, write down, follow.

Every operation needs its permission, a reason, the version that the page showed and an id made by
that page; it is one commit with its row in `Operation` and its events. `follow` then reports what
really came of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import msgspec
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import DataError, OperationalError, transaction
from psycopg.errors import LockNotAvailable

from sagas import interventions, locks, machine, store, writing
from sagas.attempts import attempt_row
from sagas.codec import from_json, receipt_type, to_json
from sagas.exceptions import ActionIdReused, OperationRefused, StaleVersion, UnknownSaga
from sagas.jobs import hint
from sagas.models import Operation, SagaInstance, StepAttempt
from sagas.plan import PlannedStep
from sagas.selectors import lock_holder, waiting_words
from sagas.snapshot import SagaState, Task
from sagas.states import CompensationStatus, SagaStatus, Side
from sagas.store import LoadedSaga
from sagas.writing import Attempt, Move

PERMISSIONS = {
    "retry": "sagas.retry_saga",
    "compensate": "sagas.compensate_saga",
    "resolve": "sagas.resolve_saga",
    "pause": "sagas.pause_saga",
    "resume": "sagas.pause_saga",
    "reschedule": "sagas.reschedule_saga",
    "skip": "sagas.skip_saga",
    "waive": "sagas.waive_saga",
    "release": "sagas.release_saga",
    "abandon": "sagas.abandon_saga",
    "review": "sagas.review_saga",
}


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks, why, on the ground of which version; ``id`` makes a double click one operation."""

    id: UUID
    actor: User
    reason: str
    version: int


@dataclass(frozen=True, slots=True)
class _Effect:
    """What an operation makes of a saga: its state, what is written down, and a lock that it loses."""

    after: SagaState
    detail: dict[str, Any] = field(default_factory=dict)
    lock: str = ""


def retry(saga_id: UUID, request: Request) -> Operation:
    """Try again now what failed or pauses. Raises as `_operate` does."""
    return _operate(
        "retry", saga_id, request, lambda saga: _Effect(interventions.retry(_plan(saga), saga.state, saga.now))
    )


def compensate(saga_id: UUID, request: Request) -> Operation:
    """Turn the saga back and undo what it did. Refused past the pivot."""

    def turn(saga: LoadedSaga) -> _Effect:
        message = f"an operator turned it back: {request.reason}"
        return _Effect(machine.turn_back(_plan(saga), saga.state, "operator", message, saga.now))

    return _operate("compensate", saga_id, request, turn)


def resolve(saga_id: UUID, request: Request, *, step: str, happened: bool, receipt: Any = None) -> Operation:
    """Settle an unknown outcome by hand; ``receipt`` is the JSON of what the step would have returned."""

    def settle(saga: LoadedSaga) -> _Effect:
        planned = _step(saga, step)
        value = _valid_receipt(planned, receipt) if happened else None
        after = interventions.resolve(_plan(saga), saga.state, planned, happened=happened, receipt=value, now=saga.now)
        return _Effect(after, {"happened": happened, "receipt": receipt})

    return _operate("resolve", saga_id, request, settle, step=step)


def pause(saga_id: UUID, request: Request) -> Operation:
    """Let nothing new start until somebody resumes it."""
    return _operate(
        "pause", saga_id, request, lambda saga: _Effect(interventions.pause(_plan(saga), saga.state, saga.now))
    )


def resume(saga_id: UUID, request: Request) -> Operation:
    """Go on after a pause, or after a deploy that knows the saga's plan."""
    return _operate(
        "resume", saga_id, request, lambda saga: _Effect(interventions.resume(_plan(saga), saga.state, saga.now))
    )


def reschedule(saga_id: UUID, request: Request, *, step: str, at: datetime | None) -> Operation:
    """Move the time limit of a step that waits for a signal, a person or a time; None takes the limit away.

    Moved to now, or to the past, it is over at once.
    """

    def move(saga: LoadedSaga) -> _Effect:
        planned = _step(saga, step)
        before = saga.state.steps[planned.position].due_at
        after = interventions.reschedule(_plan(saga), saga.state, planned, at=at, now=saga.now)
        return _Effect(after, {"from": before and before.isoformat(), "to": at and at.isoformat()})

    return _operate("reschedule", saga_id, request, move, step=step)


def skip(saga_id: UUID, request: Request, *, step: str, receipt: Any = None) -> Operation:
    """Go past a step that the plan lets people skip; ``receipt`` is the JSON that later steps get for it."""

    def go_past(saga: LoadedSaga) -> _Effect:
        planned = _step(saga, step)
        reason = interventions.why_not_skip(_plan(saga), saga.state, planned)
        if reason:
            raise machine.NotAllowed(reason)
        value = _valid_receipt(planned, receipt)
        after = interventions.skip(_plan(saga), saga.state, planned, receipt=value, now=saga.now)
        return _Effect(after, {"receipt": receipt})

    return _operate("skip", saga_id, request, go_past, step=step)


def waive(saga_id: UUID, request: Request, *, step: str) -> Operation:
    """Accept the effect of a step whose compensation failed, and go on with the way back."""

    def accept(saga: LoadedSaga) -> _Effect:
        planned = _step(saga, step)
        after = interventions.waive(_plan(saga), saga.state, planned, now=saga.now)
        return _Effect(after, {"left_behind": [step], "receipt": saga.state.steps[planned.position].receipt})

    return _operate("waive", saga_id, request, accept, step=step)


def release(saga_id: UUID, request: Request, *, lock: str) -> Operation:
    """Take a lock from a saga that stands still; the next in line gets it in the same commit.

    What the saga began is fenced off, and before it does anything else it waits for that lock again.
    """

    def take_away(saga: LoadedSaga) -> _Effect:
        if lock not in locks.held_by(saga.id):
            raise machine.NotAllowed(f"This saga does not hold {lock}.")
        return _Effect(interventions.release(_plan(saga), saga.state, lock, saga.now), {"lock": lock}, lock)

    return _operate("release", saga_id, request, take_away)


def abandon(saga_id: UUID, request: Request) -> Operation:
    """Close a saga for ever, with what it leaves behind; its locks go to the next in line.

    What it leaves is listed, and raises attention until somebody reviews it.
    """

    def close(saga: LoadedSaga) -> _Effect:
        after = interventions.abandon(_plan(saga), saga.state, saga.now)
        left = interventions.left_behind(_plan(saga), after)
        return _Effect(after, {"left_behind": left, "locks": locks.held_by(saga.id)})

    return _operate("abandon", saga_id, request, close)


def review(saga_id: UUID, request: Request) -> Operation:
    """Say that what an ended saga raised attention for is looked after."""

    def look_after(saga: LoadedSaga) -> _Effect:
        return _Effect(interventions.review(saga.state), {"attention": saga.state.attention})

    return _operate("review", saga_id, request, look_after)


def _operate(
    name: str, saga_id: UUID, request: Request, transition: Callable[[LoadedSaga], _Effect], *, step: str = ""
) -> Operation:
    """Do it once, in one commit with its audit row. The second call with the same id returns the first.

    Raises `PermissionDenied`, `ValueError` without a reason, `UnknownSaga`, `StaleVersion` and
    `OperationRefused`; nothing has changed then.
    """
    if not request.actor.has_perm(PERMISSIONS[name]):
        raise PermissionDenied(f"You may not {name} sagas.")
    if not request.reason.strip():
        raise ValueError("Say why: the reason is kept with the saga.")
    with _refusals(), transaction.atomic(durable=True):
        saga = store.lock(saga_id)
        if saga is None:
            raise UnknownSaga(str(saga_id))
        done = Operation.objects.filter(pk=request.id).first()
        if done is not None:
            if (done.saga_id, done.name, done.actor_id) != (saga_id, name, request.actor.pk):
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
        operation = Operation.objects.create(
            id=request.id,
            saga_id=saga_id,
            name=name,
            step=step,
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
def _refusals() -> Iterator[None]:
    """What keeps an operation from being done, in words for the person who asked for it."""
    try:
        yield
    except machine.NotAllowed as error:
        raise OperationRefused(str(error)) from error
    except DataError as error:
        raise OperationRefused("What you entered cannot be stored; look for invisible characters.") from error
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise OperationRefused("A worker is at this saga right now; try again in a moment.") from error
        raise


def _plan(saga: LoadedSaga) -> Any:
    if saga.plan is None:
        raise machine.NotAllowed("The code that is running has no plan that continues this saga; deploy one first.")
    return saga.plan


def _step(saga: LoadedSaga, name: str) -> PlannedStep:
    for planned in _plan(saga).steps:
        if planned.name == name:
            step: PlannedStep = planned
            return step
    raise machine.NotAllowed(f"This saga has no step {name!r}.")


def _valid_receipt(step: PlannedStep, receipt: Any) -> Any:
    try:
        return to_json(from_json(receipt_type(step), receipt))
    except msgspec.ValidationError as error:
        raise machine.NotAllowed(f"This is not a receipt of {step.name}: {error}.") from error


# --- what came of it ------------------------------------------------------------------------------


def follow(operation: Operation, *, seconds: float = 8.0) -> str:
    """What came of an operation, in a sentence: waits for the next outcome, at most ``seconds``.

    The next outcome is the end of an attempt that started after it, or a saga that rests.
    """
    until = monotonic() + seconds
    while True:
        saga = SagaInstance.objects.prefetch_related("steps").get(pk=operation.saga_id)
        attempt = (
            StepAttempt.objects.filter(saga_id=operation.saga_id, started_at__gte=operation.at, ended_at__isnull=False)
            .order_by("-ended_at")
            .first()
        )
        if saga.wake_at is None or saga.waiting_on is not None:
            return f"{_own_words(operation)}{_attempt_words(attempt)}{waiting_words(saga)}"
        if monotonic() > until:
            late = "" if attempt else "No worker has taken it up yet; are the workers running? "
            return f"{_attempt_words(attempt)}{late}{waiting_words(saga)}"
        sleep(0.1)


def _own_words(operation: Operation) -> str:
    """What an operation did besides what the saga now does."""
    if operation.name == "review":
        return "It asks for attention no more. "
    if operation.name != "release":
        return ""
    kind, _, key = operation.detail["lock"].partition(" ")
    holder = lock_holder(kind, key)
    return (
        f"{kind} {key} is held by {holder.definition} {holder.key} now. " if holder else f"{kind} {key} is free now. "
    )


def _attempt_words(attempt: StepAttempt | None) -> str:
    if attempt is None:
        return ""
    half = "" if attempt.side == "action" else "The compensation of "
    said = f": {attempt.message}" if attempt.message else ""
    return f"{half}{attempt.step} came out {attempt.outcome}{said}. "
