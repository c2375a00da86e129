"""What a person may do to a saga, as transitions of its state. Pure; `operations` stores them.

Each raises `NotAllowed` with the reason when the state does not allow it.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sagas.machine import NotAllowed, advance
from sagas.plan import Plan, PlannedStep
from sagas.snapshot import SagaState
from sagas.states import ActionStatus, CompensationStatus, SagaStatus, SuspendReason


def retry(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    """Try again now what failed or pauses; the attempts so far stay, their budget starts anew."""
    reason = why_not_retry(saga)
    if reason:
        raise NotAllowed(reason)
    for position, state in enumerate(saga.steps):
        if state.in_flight or not (state.failures or state.has_failed):
            continue
        changes: dict[str, Any] = {"failures": 0, "due_at": None}
        can_be_undone = plan.steps[position].spec.compensation is not None
        if saga.backward and state.compensation is CompensationStatus.FAILED and can_be_undone:
            changes["compensation"] = CompensationStatus.PENDING
        elif not saga.backward and state.action is ActionStatus.FAILED:
            changes["action"] = ActionStatus.PENDING
        saga = saga.with_step(position, **changes)
    return advance(plan, _moving(saga), now)


def hurry(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    """End the backoffs: there is news. Budgets and outcomes stay; nothing changes where nothing pauses."""
    if saga.terminal or saga.status is SagaStatus.SUSPENDED:
        return saga
    for position, state in enumerate(saga.steps):
        if not state.in_flight and state.due_at is not None and state.failures:
            saga = saga.with_step(position, due_at=now)
    return advance(plan, saga, now)


def why_not_retry(saga: SagaState) -> str:
    """Why there is nothing to retry; empty when there is."""
    if saga.terminal:
        return f"The saga has ended: {saga.status}."
    if saga.suspend_reason in (SuspendReason.OPERATOR_PAUSE, SuspendReason.DEFINITION_MISMATCH):
        return "The saga is paused; resume it."
    if saga.suspend_reason is SuspendReason.NO_COMPENSATION:
        return "There is no compensation to retry; undo the effect by hand."
    if saga.status is SagaStatus.SUSPENDED or any(s.due_at and s.failures and not s.in_flight for s in saga.steps):
        return ""
    return "Nothing of this saga has failed or pauses; it is on its way."


def resolve(
    plan: Plan, saga: SagaState, step: PlannedStep, *, happened: bool, receipt: Any, now: datetime
) -> SagaState:
    """Say what became of an unknown action. What happened is done, with its receipt; what did not is tried again.

    Of a saga that goes backward, what did not happen needs no compensation.
    """
    reason = why_not_resolve(saga, step)
    if reason:
        raise NotAllowed(reason)
    changes: dict[str, Any] = {"failures": 0, "due_at": None, "error": ""}
    if happened:
        saga = saga.with_step(step.position, action=ActionStatus.SUCCEEDED, receipt=receipt, **changes)
        saga = replace(saga, pivot_passed=saga.pivot_passed or step.pivot)
    elif saga.backward:
        none = CompensationStatus.NOT_NEEDED
        saga = saga.with_step(step.position, action=ActionStatus.FAILED, compensation=none, **changes)
    else:
        saga = saga.with_step(step.position, action=ActionStatus.PENDING, **changes)
    if saga.suspend_reason is SuspendReason.OPERATOR_PAUSE:
        return advance(plan, saga, now)
    return advance(plan, _moving(saga), now)


def why_not_resolve(saga: SagaState, step: PlannedStep) -> str:
    """Why there is nothing to resolve at this step; empty when there is."""
    state = saga.steps[step.position]
    if saga.terminal:
        return f"The saga has ended: {saga.status}."
    if state.action is not ActionStatus.UNKNOWN:
        return f"The outcome of {step.name} is not unknown: it is {state.action}."
    if state.in_flight:
        return f"{step.name} is being asked right now; wait for the answer."
    if state.compensation in (CompensationStatus.RUNNING, CompensationStatus.SUCCEEDED):
        return f"{step.name} is being undone, whatever became of it."
    return ""


def pause(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    """Let nothing new start. What is under way is still recorded."""
    reason = why_not_pause(saga)
    if reason:
        raise NotAllowed(reason)
    paused = replace(saga, status=SagaStatus.SUSPENDED, suspend_reason=SuspendReason.OPERATOR_PAUSE)
    return advance(plan, paused, now)


def why_not_pause(saga: SagaState) -> str:
    """Why it cannot be paused; empty when it can."""
    if saga.terminal:
        return f"The saga has ended: {saga.status}."
    if saga.status is SagaStatus.SUSPENDED:
        return "Nothing of this saga moves; there is nothing to pause."
    return ""


def resume(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    """Go on after a pause, or under code that knows the plan again."""
    reason = why_not_resume(saga)
    if reason:
        raise NotAllowed(reason)
    return advance(plan, _moving(saga), now)


def why_not_resume(saga: SagaState) -> str:
    """Why it cannot be resumed; empty when it can."""
    if saga.suspend_reason in (SuspendReason.OPERATOR_PAUSE, SuspendReason.DEFINITION_MISMATCH):
        return ""
    return "The saga is not paused."


def _moving(saga: SagaState) -> SagaState:
    """No longer suspended; `advance` then says where that leads."""
    if saga.status is not SagaStatus.SUSPENDED:
        return saga
    status = SagaStatus.COMPENSATING if saga.backward else SagaStatus.RUNNING
    return replace(saga, status=status, suspend_reason=None, attention="", wake_at=None)
