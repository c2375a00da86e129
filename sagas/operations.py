"""What people may do to a saga. Shared by admin, API and commands: check, do, write down, follow.

Every operation needs its permission, a reason, the version that the page showed and an id made by
that page; it is one commit with its row in `Operation` and its events. `follow` then reports what
really came of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import msgspec
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db import DataError, OperationalError, transaction
from psycopg.errors import LockNotAvailable

from sagas import interventions, machine, store
from sagas.codec import from_json, receipt_type, to_json
from sagas.exceptions import ActionIdReused, OperationRefused, StaleVersion, UnknownSaga
from sagas.jobs import hint
from sagas.models import Operation, SagaInstance, StepAttempt
from sagas.plan import PlannedStep
from sagas.selectors import waiting_words
from sagas.snapshot import SagaState
from sagas.store import LoadedSaga

PERMISSIONS = {
    "retry": "sagas.retry_saga",
    "compensate": "sagas.compensate_saga",
    "resolve": "sagas.resolve_saga",
    "pause": "sagas.pause_saga",
    "resume": "sagas.pause_saga",
}


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks, why, on the ground of which version; ``id`` makes a double click one operation."""

    id: UUID
    actor: User
    reason: str
    version: int


@dataclass(frozen=True, slots=True)
class Option:
    """An operation and, where it is not open to this person now, the reason."""

    name: str
    why_not: str
    steps: tuple[str, ...] = ()


def retry(saga_id: UUID, request: Request) -> Operation:
    """Try again now what failed or pauses. Raises as `_operate` does."""
    return _operate("retry", saga_id, request, lambda saga: interventions.retry(_plan(saga), saga.state, saga.now))


def compensate(saga_id: UUID, request: Request) -> Operation:
    """Turn the saga back and undo what it did. Refused past the pivot."""

    def turn(saga: LoadedSaga) -> SagaState:
        message = f"an operator turned it back: {request.reason}"
        return machine.turn_back(_plan(saga), saga.state, "operator", message, saga.now)

    return _operate("compensate", saga_id, request, turn)


def resolve(saga_id: UUID, request: Request, *, step: str, happened: bool, receipt: Any = None) -> Operation:
    """Settle an unknown outcome by hand; ``receipt`` is the JSON of what the step would have returned."""

    def settle(saga: LoadedSaga) -> SagaState:
        planned = _step(saga, step)
        value = _valid_receipt(planned, receipt) if happened else None
        return interventions.resolve(_plan(saga), saga.state, planned, happened=happened, receipt=value, now=saga.now)

    return _operate("resolve", saga_id, request, settle, step=step, detail={"happened": happened, "receipt": receipt})


def pause(saga_id: UUID, request: Request) -> Operation:
    """Let nothing new start until somebody resumes it."""
    return _operate("pause", saga_id, request, lambda saga: interventions.pause(_plan(saga), saga.state, saga.now))


def resume(saga_id: UUID, request: Request) -> Operation:
    """Go on after a pause, or after a deploy that knows the saga's plan."""
    return _operate("resume", saga_id, request, lambda saga: interventions.resume(_plan(saga), saga.state, saga.now))


def _operate(
    name: str,
    saga_id: UUID,
    request: Request,
    transition: Callable[[LoadedSaga], SagaState],
    *,
    step: str = "",
    detail: dict[str, Any] | None = None,
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
        after = transition(saga)
        written = store.write(saga, after, actor=f"operator {request.actor}", why=request.reason)
        operation = Operation.objects.create(
            id=request.id,
            saga_id=saga_id,
            name=name,
            step=step,
            actor=request.actor,
            reason=request.reason,
            detail=detail or {},
            status_before=saga.state.status,
            status_after=after.status,
            version_after=written.version,
            at=saga.now,
        )
        transaction.on_commit(hint, robust=True)
    return operation


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


# --- what is open, and what came of it ------------------------------------------------------------


def options(saga_id: UUID, actor: AbstractBaseUser | AnonymousUser) -> list[Option]:
    """Every operation, with the reason where it is not open to this person now."""
    saga = store.read(saga_id)
    if saga is None:
        raise UnknownSaga(str(saga_id))
    unknown: tuple[str, ...] = ()
    if saga.plan is None:
        whys = dict.fromkeys(PERMISSIONS, "The code that is running has no plan that continues this saga.")
    else:
        unknown = tuple(step.name for step in saga.plan.steps if not interventions.why_not_resolve(saga.state, step))
        turn_back = machine.why_not_turn_back(saga.plan, saga.state)
        whys = {
            "retry": interventions.why_not_retry(saga.state),
            "compensate": f"The saga cannot be turned back: {turn_back}." if turn_back else "",
            "resolve": "" if unknown else "No outcome of this saga is unknown.",
            "pause": interventions.why_not_pause(saga.state),
            "resume": interventions.why_not_resume(saga.state),
        }
    may = {name: actor.has_perm(permission) for name, permission in PERMISSIONS.items()}  # type: ignore[union-attr]
    return [
        Option(name, why if may[name] else f"You may not {name} sagas.", unknown if name == "resolve" else ())
        for name, why in whys.items()
    ]


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
        rests = saga.wake_at is None or saga.waiting_on is not None
        if rests and (attempt is not None or saga.status in ("SUSPENDED", "COMPLETED", "COMPENSATED", "ABANDONED")):
            return f"{_attempt_words(attempt)}{waiting_words(saga)}"
        if monotonic() > until:
            late = "" if attempt else "No worker has taken it up yet; are the workers running? "
            return f"{_attempt_words(attempt)}{late}{waiting_words(saga)}"
        sleep(0.1)


def _attempt_words(attempt: StepAttempt | None) -> str:
    if attempt is None:
        return ""
    half = "" if attempt.side == "action" else "The compensation of "
    said = f": {attempt.message}" if attempt.message else ""
    return f"{half}{attempt.step} came out {attempt.outcome}{said}. "
