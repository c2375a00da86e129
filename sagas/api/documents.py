"""A saga with everything an operator looks at, read in a fixed number of queries."""

from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import Http404
from msgspec.structs import asdict

from sagas.api.serializers import SagaParts, SagaSerializer
from sagas.models import SagaInstance
from sagas.options import options
from sagas.selectors import plan_of, with_steps
from sagas.snapshot import untouched

_ATTEMPTS, _EVENTS = 100, 200


def saga_summary(saga_id: UUID) -> dict[str, Any]:
    """Where a saga stands. Raises `Http404`."""
    return SagaSerializer(_read(saga_id)).data


def saga_document(saga_id: UUID, reader: AbstractBaseUser | AnonymousUser) -> dict[str, Any]:
    """All of a saga, with what ``reader`` may do about it. Raises `Http404`."""
    saga = _read(saga_id)
    parts = {
        "steps": _steps(saga),
        "attempts": list(saga.attempts.order_by("-started_at", "-id")[:_ATTEMPTS])[::-1],
        "events": list(saga.events.order_by("-id")[:_EVENTS])[::-1],
        "locks": saga.locks.order_by("resource_type", "resource_id"),
        "operations": saga.operations.select_related("actor"),
        "options": options(saga_id, reader),
    }
    return {**SagaSerializer(saga).data, **SagaParts(parts).data}


def _read(saga_id: UUID) -> SagaInstance:
    saga = with_steps().filter(pk=saga_id).first()
    if saga is None:
        raise Http404
    return saga


def _steps(saga: SagaInstance) -> list[Any]:
    """The steps that were touched, and those of the plan that are still to come."""
    touched = {step.name: step for step in saga.steps.all()}
    plan = plan_of(saga)
    if plan is None:
        return list(touched.values())
    return [
        touched.get(step.name) or {"position": step.position, "name": step.name, "kind": step.kind, **asdict(state)}
        for step, state in zip(plan.steps, untouched(plan), strict=True)
    ]
