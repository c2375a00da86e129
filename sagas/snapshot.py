"""Where a saga stands, as values: what `machine` computes with and `store` loads and writes. Pure."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from sagas.plan import Plan
from sagas.states import (
    TERMINAL,
    ActionStatus,
    CompensationStatus,
    SagaStatus,
    Side,
    Status,
    SuspendReason,
    check_move,
)


class StepState(msgspec.Struct, frozen=True):
    """Where one step stands. ``token`` fences its attempt in flight; 0 when there is none.

    ``due_at`` is the end of the lease while an attempt is in flight, else that of the backoff, or of
    the wait of a step that waits.
    ``failures`` counts against the budget of the side at work; attempts count for ever.
    """

    action: ActionStatus = ActionStatus.PENDING
    compensation: CompensationStatus = CompensationStatus.NOT_NEEDED
    action_attempts: int = 0
    compensation_attempts: int = 0
    failures: int = 0
    token: int = 0
    due_at: datetime | None = None
    receipt: Any = None
    error: str = ""

    @property
    def in_flight(self) -> bool:
        return self.token != 0

    @property
    def may_have_happened(self) -> bool:
        return self.action in (ActionStatus.SUCCEEDED, ActionStatus.UNKNOWN)

    @property
    def has_failed(self) -> bool:
        """Whether one of its halves was given up."""
        return self.action is ActionStatus.FAILED or self.compensation is CompensationStatus.FAILED

    def attempts(self, side: Side) -> int:
        return self.action_attempts if side is Side.ACTION else self.compensation_attempts


class SagaState(msgspec.Struct, frozen=True):
    """Where a saga stands. ``generation`` numbers the remote attempts; it only grows.

    ``signals`` names the signals that came and are not consumed yet. ``blocked_on`` is the resource
    whose lock it needs before its first step and does not have, ``blocked_until`` how long it waits.
    """

    steps: tuple[StepState, ...]
    status: SagaStatus = SagaStatus.PENDING
    backward: bool = False
    pivot_passed: bool = False
    generation: int = 0
    deadline_at: datetime | None = None
    wake_at: datetime | None = None
    waiting_on: dict[str, Any] | None = None
    suspend_reason: SuspendReason | None = None
    attention: str = ""
    failure: dict[str, str] | None = None
    signals: frozenset[str] = frozenset()
    blocked_on: str = ""
    blocked_until: datetime | None = None

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    def with_step(self, position: int, **changes: Any) -> "SagaState":
        steps = list(self.steps)
        steps[position] = replace(steps[position], **changes)
        return replace(self, steps=tuple(steps))


class Task(msgspec.Struct, frozen=True):
    """One attempt that may start now. ``settle``: ask what became of the last one first."""

    position: int
    side: Side
    settle: bool = False


def untouched(plan: Plan) -> tuple[StepState, ...]:
    """The steps of a saga that was just started; the one that started it is done."""
    return tuple(StepState(action=ActionStatus.SUCCEEDED if p.begins else ActionStatus.PENDING) for p in plan.steps)


def new_saga(plan: Plan, now: datetime) -> SagaState:
    """The state of a saga that was just started: due at once."""
    deadline = now + plan.deadline if plan.deadline else None
    return SagaState(untouched(plan), deadline_at=deadline, wake_at=now)


class Change(msgspec.Struct, frozen=True):
    """One status that changed: of the saga (``step`` empty), of an action or of a compensation."""

    step: str
    what: str
    before: Status
    after: Status


def changes(plan: Plan | None, before: SagaState, after: SagaState) -> list[Change]:
    """Every status in which two states differ, steps first; raises `IllegalMove` if one may not."""
    found = []
    for step, old, new in zip(plan.steps, before.steps, after.steps, strict=True) if plan else ():
        if old.action is not new.action:
            found.append(Change(step.name, Side.ACTION, old.action, new.action))
        if old.compensation is not new.compensation:
            found.append(Change(step.name, Side.COMPENSATION, old.compensation, new.compensation))
    if before.status is not after.status:
        found.append(Change("", "saga", before.status, after.status))
    for change in found:
        check_move(change.before, change.after)
    return found
