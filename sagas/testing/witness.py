"""What has to hold after a case: the engine's invariants, the auditors', and what the world itself saw."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from sagas.audit import audit
from sagas.models import SagaInstance
from sagas.plan import Plan
from sagas.states import LIVE, SagaStatus
from sagas.steps import NoCompensation


@dataclass(frozen=True, slots=True)
class Witness:
    """What the world saw since it was rebuilt, by its own books.

    ``taken``: how often each ``"<step>:action"`` or ``"<step>:compensation"`` took effect; count the
    effects, not the calls. ``left``: the steps of whose actions there is something now.
    """

    taken: Mapping[str, int]
    left: frozenset[str]


class World(Protocol):
    """What a saga acts on. It has to be the same for all processes: tables, files, or servers."""

    def rebuild(self) -> None:
        """As if nothing had ever happened. The saga's own rows are not its business."""

    def witness(self) -> Witness: ...


def engine_violations(sagas: list[SagaInstance]) -> Iterator[str]:
    """The auditors' rules, of the engine and of the apps, and that everything rests."""
    for saga in sagas:
        if saga.status in LIVE and saga.status != SagaStatus.SUSPENDED and saga.wake_at is not None:
            waits = f", waits for {saga.waiting_on}" if saga.waiting_on else ""
            yield f"{saga.definition} {saga.business_key} does not come to rest: it is {saga.status}{waits}"
        if saga.status == SagaStatus.SUSPENDED and not saga.suspend_reason:
            yield f"{saga.definition} {saga.business_key} is SUSPENDED without a reason"
    yield from map(str, audit().violations)


def world_violations(plan: Plan, status: str, seen: Witness, when_completed: Witness | None) -> Iterator[str]:
    """Whether what the world saw fits the end of the saga; ``when_completed`` is what an undisturbed run left."""
    for half, times in seen.taken.items():
        if times > 1:
            yield f"{half} took effect {times} times"
    if status == SagaStatus.COMPLETED and when_completed is not None:
        for step in sorted(when_completed.left - seen.left):
            yield f"the saga is COMPLETED, but nothing is there of {step}"
        for step in sorted(seen.left - when_completed.left):
            yield f"the saga is COMPLETED, but something is there of {step}"
    if status in (SagaStatus.COMPENSATED, ""):
        for step in sorted(seen.left - _may_stay(plan)):
            yield f"the saga is {status or 'not there'}, but something is left of {step}"


def _may_stay(plan: Plan) -> set[str]:
    return {step.name for step in plan.steps if step.spec.no_compensation is NoCompensation.ACCEPT}
