"""What a person may do to a saga, as transitions of its state. Pure; `operations` stores them.

Each raises `NotAllowed` with the reason when the state does not allow it.
"""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from sagas import machine
from sagas.advance import also, ended, is_at, overdue_words, still_overdue
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
    return advance(plan, _moving(plan, saga), now)


def edit(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    """Try again what failed, with other data and so with new keys."""
    reason = why_not_edit(saga)
    if reason:
        raise NotAllowed(reason)
    for position, state in enumerate(saga.steps):
        if state.failures or state.action is ActionStatus.FAILED:
            saga = saga.with_step(position, action=ActionStatus.PENDING, failures=0, due_at=None, error="")
    return advance(plan, _moving_unless_paused(plan, saga), now)


def why_not_edit(saga: SagaState) -> str:
    """Why its data cannot be edited; empty when it can: its last attempt failed, definitely without effect."""
    if saga.terminal:
        return f"The saga has ended: {saga.status}."
    if saga.backward:
        return "The saga goes backward: what is undone is undone with the data it was done with."
    if any(state.action is ActionStatus.UNKNOWN for state in saga.steps):
        return "Nobody knows what became of a step: with a new key it could be done twice. Resolve it first."
    if any(state.in_flight for state in saga.steps):
        return "A call is under way; wait for its outcome."
    if not any(state.failures or state.action is ActionStatus.FAILED for state in saga.steps):
        return "No step of this saga has failed."
    return ""


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
        return "There is no compensation to retry; undo the effect by hand, then waive it."
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
    return advance(plan, _moving_unless_paused(plan, saga), now)


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
    if state.compensation is CompensationStatus.WAIVED:
        return f"{step.name} is not undone, whatever became of it: that was waived."
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
    return advance(plan, _moving(plan, saga), now)


def why_not_resume(saga: SagaState) -> str:
    """Why it cannot be resumed; empty when it can."""
    if saga.suspend_reason in (SuspendReason.OPERATOR_PAUSE, SuspendReason.DEFINITION_MISMATCH):
        return ""
    return "The saga is not paused."


def _moving(plan: Plan, saga: SagaState) -> SagaState:
    """No longer suspended; `advance` then says where that leads."""
    if saga.status is not SagaStatus.SUSPENDED:
        return saga
    status = SagaStatus.COMPENSATING if saga.backward else SagaStatus.RUNNING
    attention = still_overdue(plan, saga, saga.attention)
    return replace(saga, status=status, suspend_reason=None, attention=attention, wake_at=None)


# --- waits ------------------------------------------------------------------------------------------


def reschedule(plan: Plan, saga: SagaState, step: PlannedStep, *, at: datetime | None, now: datetime) -> SagaState:
    """Move the time limit of a step that waits: to now, it is over; None takes it away, so that nothing ends the wait
    but what is waited for. A step that waits for nothing but its time always has one.
    """
    reason = why_not_reschedule(saga, step)
    if reason:
        raise NotAllowed(reason)
    if at is None and not step.awaits:
        raise NotAllowed(f"{step.name} waits for nothing but its time; move that to now instead.")
    attention = also(*(words for words in saga.attention.split("; ") if words != overdue_words(step)))
    return advance(plan, replace(saga.with_step(step.position, due_at=at), attention=attention), now)


def why_not_reschedule(saga: SagaState, step: PlannedStep) -> str:
    """Why this step has no time limit to be moved; empty when it has."""
    state = saga.steps[step.position]
    if saga.terminal:
        return f"The saga has ended: {saga.status}."
    if step.wait is None or state.action is not ActionStatus.WAITING:
        return f"{step.name} does not wait for a signal, a person or a time now: it is {state.action}."
    if state.failures:
        return f"{step.name} pauses after a failure; retry it."
    if step.name in saga.signals:
        return f"What {step.name} waits for has come."
    return ""


# --- going past what cannot be done ---------------------------------------------------------------


def skip(plan: Plan, saga: SagaState, step: PlannedStep, *, receipt: Any, now: datetime) -> SagaState:
    """Go past an action that has no effect; later steps get this receipt for it. It is never compensated."""
    reason = why_not_skip(plan, saga, step)
    if reason:
        raise NotAllowed(reason)
    skipped = saga.with_step(
        step.position, action=ActionStatus.SKIPPED, receipt=receipt, failures=0, due_at=None, error=""
    )
    return advance(plan, _moving_unless_paused(plan, skipped), now)


def why_not_skip(plan: Plan, saga: SagaState, step: PlannedStep) -> str:
    """Why this step cannot be skipped; empty when it can."""
    state = saga.steps[step.position]
    if saga.terminal:
        return f"The saga has ended: {saga.status}."
    if not step.spec.skippable:
        return f"The plan does not let anybody skip {step.name}."
    if saga.backward:
        return "The saga goes backward; no action of it is to be skipped."
    if state.in_flight:
        return f"{step.name} is under way; wait for its outcome."
    if state.action is ActionStatus.UNKNOWN:
        return f"Nobody knows whether {step.name} happened; resolve it."
    if not is_at(plan, saga, step):
        return f"The saga is not at {step.name}."
    if saga.status is not SagaStatus.SUSPENDED:
        return "The saga is on its way; pause it first."
    return ""


def waive(plan: Plan, saga: SagaState, step: PlannedStep, *, now: datetime) -> SagaState:
    """Accept that an effect stays, and go on undoing the rest."""
    reason = why_not_waive(saga, step)
    if reason:
        raise NotAllowed(reason)
    waived = saga.with_step(step.position, compensation=CompensationStatus.WAIVED, failures=0, due_at=None)
    return advance(plan, _moving_unless_paused(plan, waived), now)


def why_not_waive(saga: SagaState, step: PlannedStep) -> str:
    """Why there is nothing to waive at this step; empty when there is."""
    state = saga.steps[step.position]
    if saga.terminal:
        return f"The saga has ended: {saga.status}."
    if state.compensation is not CompensationStatus.FAILED:
        return f"The compensation of {step.name} has not failed: it is {state.compensation}."
    return ""


# --- taking a saga out of the way -------------------------------------------------------------------


def release(plan: Plan, saga: SagaState, lock: str, now: datetime) -> SagaState:
    """Take a lock from a saga that does not move. What it began is fenced off, and before it does anything
    else, forward or backward, it gets in line for that lock again. Of one that has ended nothing else changes.
    """
    reason = why_not_release(saga)
    if reason:
        raise NotAllowed(reason)
    if saga.terminal:
        return saga
    fenced = machine.fence(plan, saga, now)
    return fenced if fenced.terminal else replace(fenced, blocked_on=lock, blocked_until=None)


def why_not_release(saga: SagaState) -> str:
    """Why no lock may be taken from it; empty when one may."""
    if saga.terminal or saga.status is SagaStatus.SUSPENDED:
        return ""
    return "The saga moves and relies on its locks; pause it first."


def abandon(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    """Close a saga as it is. Its attention says what it leaves behind, until somebody reviews it."""
    reason = why_not_abandon(saga)
    if reason:
        raise NotAllowed(reason)
    fenced = machine.fence(plan, saga, now)
    if fenced.terminal:
        return fenced
    left = ", ".join(left_behind(plan, fenced)) or "no effect"
    return replace(
        ended(fenced, SagaStatus.ABANDONED), suspend_reason=None, attention=f"abandoned; left behind: {left}"
    )


def why_not_abandon(saga: SagaState) -> str:
    """Why it cannot be abandoned; empty when it can."""
    return f"The saga has ended: {saga.status}." if saga.terminal else ""


def left_behind(plan: Plan, saga: SagaState) -> list[str]:
    """The steps whose effects are there, or may be, and are not undone."""
    return [
        f"{step.name} (perhaps)" if state.action is ActionStatus.UNKNOWN else step.name
        for step, state in zip(plan.steps, saga.steps, strict=True)
        if state.may_have_happened
        and not step.spec.reads_only
        and state.compensation is not CompensationStatus.SUCCEEDED
    ]


def review(saga: SagaState) -> SagaState:
    """Somebody has looked after what an ended saga raised attention for."""
    reason = why_not_review(saga)
    if reason:
        raise NotAllowed(reason)
    return replace(saga, attention="")


def why_not_review(saga: SagaState) -> str:
    """Why there is nothing to review; empty when there is."""
    if not saga.terminal:
        return "The saga has not ended; what it raises attention for goes with its cause."
    return "" if saga.attention else "Nothing of this saga asks for attention."


def _moving_unless_paused(plan: Plan, saga: SagaState) -> SagaState:
    return saga if saga.suspend_reason is SuspendReason.OPERATOR_PAUSE else _moving(plan, saga)
