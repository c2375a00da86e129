"""Reads for pages and programs. Nothing here locks or writes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Prefetch, QuerySet

from sagas.definition import newest, registry
from sagas.models import SagaInstance, SagaStep, SemanticLock
from sagas.plan import Plan
from sagas.states import ActionStatus, CompensationStatus, SagaStatus


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds a resource, since when, and at which step it is."""

    saga_id: UUID
    definition: str
    key: str
    since: datetime
    step: str


_DUE = """
    SELECT EXISTS (SELECT FROM sagas_sagainstance WHERE wake_at <= statement_timestamp())
        OR EXISTS (SELECT FROM sagas_outboxevent WHERE due_at <= statement_timestamp())
"""


def is_anything_due() -> bool:
    """Whether any saga can go on now, or an event be carried. One look into the index of each."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE)
        return bool(cursor.fetchone()[0])


def saga_of(definition: str, key: str) -> SagaInstance | None:
    """The saga of one definition for one business key."""
    return SagaInstance.objects.filter(definition=definition, business_key=key).first()


def saga_with_steps(definition: str, key: str) -> SagaInstance | None:
    """The same with its steps, in two queries."""
    return with_steps().filter(definition=definition, business_key=key).first()


def with_steps() -> QuerySet[SagaInstance]:
    return SagaInstance.objects.prefetch_related(Prefetch("steps", SagaStep.objects.order_by("position")))


def plan_of(saga: SagaInstance) -> Plan | None:
    """The plan a saga runs under, as far as this code knows it: never an older one than it began with."""
    plan = registry.get((saga.definition, saga.definition_version)) or newest(saga.definition)
    return plan if plan and plan.version >= saga.definition_version else None


def lock_holders(resource_type: str, resource_ids: Iterable[str]) -> dict[str, LockHolder]:
    """The holders of several resources by their id, in two queries; free ones are missing."""
    locks = SemanticLock.objects.filter(
        resource_type=resource_type, resource_id__in=list(resource_ids), saga__isnull=False
    ).select_related("saga")
    steps = Prefetch("saga__steps", SagaStep.objects.order_by("position"))
    return {
        lock.resource_id: LockHolder(
            lock.saga_id, lock.saga.definition, lock.saga.business_key, lock.taken_at, current_step(lock.saga)
        )
        for lock in locks.prefetch_related(steps)
        if lock.saga is not None and lock.saga_id is not None
    }


def lock_holder(resource_type: str, resource_id: str) -> LockHolder | None:
    return lock_holders(resource_type, [resource_id]).get(resource_id)


def current_step(saga: SagaInstance) -> str:
    """The name of the step a saga is at; empty when it has ended."""
    plan, touched = plan_of(saga), {step.name: step for step in saga.steps.all()}
    if plan is None or saga.ended_at is not None:
        return ""
    if saga.backward:
        undone = (CompensationStatus.NOT_NEEDED, CompensationStatus.SUCCEEDED, CompensationStatus.WAIVED)
        open_steps = [step for step in touched.values() if step.compensation not in undone]
        return open_steps[-1].name if open_steps else ""
    done = (ActionStatus.SUCCEEDED, ActionStatus.SKIPPED)
    ahead = (p.name for p in plan.steps if not p.begins)
    return next((name for name in ahead if name not in touched or touched[name].action not in done), "")


def waiting_words(saga: SagaInstance) -> str:
    """Why a saga does not move, in one sentence; what it is doing when it does."""
    if saga.status == SagaStatus.SUSPENDED:
        first = f"Before it goes on it needs {saga.blocked_on}." if saga.blocked_on else ""
        return " ".join(filter(None, [_SUSPENDED[saga.suspend_reason], first, _last_error(saga)]))
    if saga.ended_at is not None:
        return _ENDED[saga.status] + (f" {saga.failure['message']}" if saga.failure else "")
    if saga.waiting_on:
        return _wait_words(saga.waiting_on)
    step = current_step(saga)
    if saga.backward:
        return f"Going backward: {step} is being undone." if step else "Going backward."
    return f"Going forward: at {step}."


def _wait_words(wait: dict[str, Any]) -> str:
    what = f"the compensation of {wait['step']}" if wait["side"] == "compensation" else wait["step"]
    until = datetime.fromisoformat(wait["until"]).strftime("%Y-%m-%d %H:%M:%S UTC") if wait["until"] else ""
    words = {
        "outcome": f"Nobody knows yet whether {what} happened; it is asked again at {until}.",
        "backoff": f"Pauses before it tries {what} again at {until}.",
        "signal": f"Waits for {what}" + (f", until {until} at most." if until else "."),
        "human": f"Waits for a person: {what}" + (f", due {until}." if until else "."),
        "lock": f"Waits until {what} is free" + (f", until {until} at most." if until else "."),
        "code": f"Waits for a worker with newer code, which knows its plan, until {until} at most.",
        "timer": f"Waits until {until}, then goes on with {what}.",
    }[wait["kind"]]
    return f"{words} Last answer: {wait['why']}" if wait["why"] else words


def _last_error(saga: SagaInstance) -> str:
    at = current_step(saga)
    error = next((step.error for step in saga.steps.all() if step.name == at), "")
    return f"{at}: {error}" if error else saga.attention


_SUSPENDED = {
    "OUTCOME_UNKNOWN": "Nobody knows whether a step happened; a person has to find out and resolve it.",
    "COMPENSATION_FAILED": "A compensation failed for good, so an effect is still there.",
    "RETRIES_EXHAUSTED": "A step failed in a way that was not foreseen, too often to go on.",
    "NO_COMPENSATION": "The saga turned back, but a step that happened has no compensation.",
    "CONTRACT_VIOLATION": "Something happened that the plan rules out.",
    "DEFINITION_MISMATCH": "The code that is running has no plan that continues this saga.",
    "OPERATOR_PAUSE": "An operator paused it.",
}
_ENDED = {
    "COMPLETED": "Done.",
    "COMPENSATED": "Every effect is undone.",
    "ABANDONED": "A person closed it.",
}
