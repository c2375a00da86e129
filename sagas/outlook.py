"""What a retry would meet: can the service be called now, how often did this fail the same way today.

`ask` asks the other side what became of a call: outside any transaction, within a time limit, and only when a
person wants to know.
"""

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection

from sagas import hooks, store, turns
from sagas.attempts import Call, idempotency_key
from sagas.codec import to_json
from sagas.exceptions import UnknownSaga
from sagas.machine import NotAllowed
from sagas.models import StepAttempt
from sagas.operating import plan_of, refusals, step_of
from sagas.outcomes import CannotTell, DidNotHappen, Happened, outcome_of
from sagas.plan import PlannedStep
from sagas.preview import rolled_back
from sagas.redaction import redact_values
from sagas.snapshot import SagaState, Task
from sagas.states import ActionStatus, CompensationStatus, Side
from sagas.steps import Remote, seconds

# How long a person waits for the other side.
ASK_FOR = seconds(5)

# Failures are counted so far and no further.
MOST = 1_000


@dataclass(frozen=True, slots=True)
class StepOutlook:
    """A half of a step that would be tried again. ``why_not``: its service cannot be called now.

    ``alike_today`` counts attempts that failed the same way since midnight UTC, in ``sagas_today`` sagas;
    at most `MOST`.
    """

    step: str
    side: Side
    service: str
    key: str
    why_not: str
    last_outcome: str
    last_message: str
    alike_today: int
    sagas_today: int
    fingerprint: str
    can_ask: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What the other side says of a key: HAPPENED with a receipt, DID_NOT_HAPPEN, CANNOT_TELL, or NO_ANSWER.

    Secrets of the ``request`` are blotted out; the ``receipt`` is as a person has to enter it.
    """

    kind: str
    words: str
    key: str
    request: Any
    receipt: Any = None


def outlook(saga_id: UUID) -> list[StepOutlook]:
    """What a retry of this saga would try again, and what that would meet. Reads only; calls nobody."""
    saga = store.read(saga_id)
    if saga is None:
        raise UnknownSaga(str(saga_id))
    with refusals():
        plan = plan_of(saga)
    found = []
    for step in plan.steps:
        side = _side_at(saga.state, step)
        if side is not None:
            found.append(_of_step(saga, step, side))
    return found


def _side_at(saga: SagaState, step: PlannedStep) -> Side | None:
    """The half of a step that a retry would try again, if any."""
    state = saga.steps[step.position]
    if state.in_flight:
        return None
    if saga.backward:
        pauses = state.compensation is CompensationStatus.PENDING and state.failures
        return Side.COMPENSATION if pauses or state.compensation is CompensationStatus.FAILED else None
    failed = state.failures or state.action in (ActionStatus.FAILED, ActionStatus.UNKNOWN)
    return Side.ACTION if failed else None


def _of_step(saga: store.LoadedSaga, step: PlannedStep, side: Side) -> StepOutlook:
    function = step.function(side)
    service = function.service if isinstance(function, Remote) else ""
    tried = StepAttempt.objects.filter(saga_id=saga.id, position=step.position, side=side, ended_at__isnull=False)
    last = tried.order_by("-number").first()
    alike, sagas = _alike_today(last.fingerprint, saga.now) if last and last.fingerprint else (0, 0)
    return StepOutlook(
        step=step.name,
        side=side,
        service=service,
        key=idempotency_key(saga, step, side) if isinstance(function, Remote) else "",
        why_not=hooks.why_not_call(service),
        last_outcome=last.outcome if last else "",
        last_message=last.message if last else "",
        alike_today=alike,
        sagas_today=sagas,
        fingerprint=last.fingerprint if last else "",
        can_ask=side is Side.ACTION and step.spec.check is not None,
    )


def _alike_today(fingerprint: str, now: datetime) -> tuple[int, int]:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(DISTINCT saga_id) FROM (SELECT saga_id, started_at FROM sagas_stepattempt "
            "WHERE fingerprint = %s AND fingerprint <> '' ORDER BY id DESC LIMIT %s) AS alike WHERE started_at >= %s",
            [fingerprint, MOST, midnight],
        )
        attempts, sagas = cursor.fetchone()
    return attempts, sagas


# --- asking the other side -------------------------------------------------------------------------


def ask(saga_id: UUID, step: str) -> Answer:
    """What the other side says of a step's key, by the plan's own ``check``; it changes nothing here or there.

    Raises `OperationRefused` where there is nothing to ask, and `UnknownSaga`.
    """
    call = _call(saga_id, step)
    check = call.step.spec.check
    assert check is not None
    ctx = replace(call.ctx, timeout=min(call.ctx.timeout, ASK_FOR))
    said: list[Any] = []

    def run() -> None:
        try:
            said.append(check(ctx, call.request))
        except Exception as error:
            said.append(outcome_of(error, called=True).message)

    # A thread of its own: a check that forgets its time limit holds up nobody.
    thread = threading.Thread(target=run, name=f"ask {step}", daemon=True)
    thread.start()
    thread.join(ASK_FOR.total_seconds() + 1)
    kind, words, receipt = _meaning(said[0] if said else f"no answer within {ASK_FOR.total_seconds():g} s")
    return Answer(kind, words, ctx.idempotency_key, redact_values(to_json(call.request)), receipt)


def _call(saga_id: UUID, name: str) -> Call:
    """The call as the next attempt would make it; what is written before it is rolled back."""
    with rolled_back():
        sagas = store.take_up(saga_id, wait=True)
        if not sagas:
            raise UnknownSaga(str(saga_id))
        step = step_of(sagas[0], name)
        if step.spec.check is None:
            raise NotAllowed(f"The plan has no check of {name}: look at the other side by hand.")
        if not sagas[0].state.steps[step.position].action_attempts:
            raise NotAllowed(f"{name} was not called yet: there is nothing to ask for.")
        try:
            call = turns.begin(sagas[0], step, Task(step.position, Side.ACTION, settle=True)).call
        except turns.StepRaised as raised:
            raise NotAllowed(f"What would be asked cannot be put together: {raised.outcome.message}") from raised
    assert call is not None
    return call


def _meaning(said: Any) -> tuple[str, str, Any]:
    if isinstance(said, Happened):
        return "HAPPENED", "It happened.", to_json(said.receipt)
    if isinstance(said, DidNotHappen):
        return "DID_NOT_HAPPEN", f"It did not happen, and can no longer: {said.reason}", None
    if isinstance(said, CannotTell):
        return "CANNOT_TELL", f"The other side cannot tell: {said.reason}", None
    return "NO_ANSWER", f"No answer that helps: {said}", None
