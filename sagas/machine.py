"""What happens next, from a plan and the statuses. Pure: no Django, no queue, no clock of its own.

Every function takes a `SagaState` and returns the next one; `engine` stores it, `testing.play`
keeps it in memory. `advance` derives all that follows from the steps' statuses (the saga's
status, what it waits for, when to look again), so no two of them can disagree.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sagas.outcomes import Outcome, OutcomeKind
from sagas.plan import Plan, PlannedStep
from sagas.snapshot import SagaState, StepState, Task
from sagas.states import DONE_ACTIONS, ActionStatus, CompensationStatus, SagaStatus, Side, SuspendReason
from sagas.steps import NoCompensation, OnBug

# A bug is tried again in case it was the weather; more often would only repeat its damage.
BUG_ATTEMPTS = 3

LEASE_IS_OVER = Outcome(
    OutcomeKind.LEASE_OVER, code="lease_over", message="the worker did not come back in time", definite=False
)

Jitter = Callable[[], float]


class NotAllowed(Exception):
    """The saga's state does not allow this; the message says why."""


# --- what may start ---------------------------------------------------------------------------


def next_task(plan: Plan, saga: SagaState, now: datetime) -> Task | None:
    """The first attempt that may start now, or None when there is nothing to start."""
    if saga.terminal or saga.status is SagaStatus.SUSPENDED:
        return None
    side = Side.COMPENSATION if saga.backward else Side.ACTION
    for step in _active_steps(plan, saga):
        state = saga.steps[step.position]
        if not state.in_flight and _can_run(state, side) and (state.due_at is None or state.due_at <= now):
            return Task(step.position, side, settle=not saga.backward and state.action is ActionStatus.UNKNOWN)
    return None


def _active_steps(plan: Plan, saga: SagaState) -> list[PlannedStep]:
    """The steps of the one place where the saga is at work, in the order of the plan."""
    if saga.backward:
        if any(s.in_flight and s.compensation is CompensationStatus.NOT_NEEDED for s in saga.steps):
            # An action may still run: nothing is undone before it has settled.
            return [p for p in plan.steps if saga.steps[p.position].in_flight]
        open_steps = [p for p in plan.steps if _to_undo(saga.steps[p.position])]
        place = max((p.place for p in open_steps), default=None)
    else:
        open_steps = [p for p in plan.steps if saga.steps[p.position].action not in DONE_ACTIONS]
        place = min((p.place for p in open_steps), default=None)
    return [p for p in open_steps if p.place == place]


def _can_run(state: StepState, side: Side) -> bool:
    if side is Side.COMPENSATION:
        return state.compensation is CompensationStatus.PENDING
    return state.action in (ActionStatus.PENDING, ActionStatus.WAITING, ActionStatus.UNKNOWN)


def _to_undo(state: StepState) -> bool:
    return state.compensation in (
        CompensationStatus.PENDING,
        CompensationStatus.RUNNING,
        CompensationStatus.FAILED,
    )


# --- one attempt ------------------------------------------------------------------------------


def begin(plan: Plan, saga: SagaState, task: Task, now: datetime, lease: timedelta) -> SagaState:
    """A remote attempt starts: it gets the next generation as its fencing token, and a lease."""
    state = saga.steps[task.position]
    generation = saga.generation + 1
    changes: dict[str, Any] = {"token": generation, "due_at": now + lease}
    if task.side is Side.COMPENSATION:
        changes["compensation"] = CompensationStatus.RUNNING
    elif state.action is not ActionStatus.UNKNOWN:
        # While an unknown action is being settled it stays unknown: that is what is true of it.
        changes["action"] = ActionStatus.RUNNING
    changes |= _counted(state, task.side)
    return advance(plan, replace(saga.with_step(task.position, **changes), generation=generation), now)


def finish(
    plan: Plan, saga: SagaState, position: int, side: Side, outcome: Outcome, now: datetime, jitter: Jitter
) -> SagaState:
    """An attempt ended with ``outcome``. A local attempt is counted here, a remote one was in `begin`."""
    state = saga.steps[position]
    if not state.in_flight:
        saga = saga.with_step(position, **_counted(state, side))
    saga = replace(saga.with_step(position, token=0, due_at=None, error=outcome.message), wake_at=None)
    act = _finish_action if side is Side.ACTION else _finish_compensation
    return advance(plan, act(plan.steps[position], saga, outcome, now, jitter), now)


def lease_over(plan: Plan, saga: SagaState, now: datetime, jitter: Jitter) -> tuple[SagaState, list[Task]]:
    """Close the attempts whose lease is over: their worker is presumed dead, their outcome is unknown.

    The generation grows and the tokens go, so that a late write of that worker misses.
    """
    closed = []
    for position, state in enumerate(saga.steps):
        if state.in_flight and state.due_at is not None and state.due_at <= now:
            compensating = state.compensation is CompensationStatus.RUNNING
            side = Side.COMPENSATION if compensating else Side.ACTION
            closed.append(Task(position, side))
            saga = finish(plan, saga, position, side, LEASE_IS_OVER, now, jitter)
    return (replace(saga, generation=saga.generation + 1) if closed else saga), closed


def _counted(state: StepState, side: Side) -> dict[str, Any]:
    if side is Side.ACTION:
        return {"action_attempts": state.action_attempts + 1}
    return {"compensation_attempts": state.compensation_attempts + 1}


def _finish_action(step: PlannedStep, saga: SagaState, outcome: Outcome, now: datetime, jitter: Jitter) -> SagaState:
    state = saga.steps[step.position]
    kind, at = outcome.kind, step.position
    if kind is OutcomeKind.DONE:
        saga = saga.with_step(
            at, action=ActionStatus.SUCCEEDED, receipt=outcome.receipt, failures=0, error="", due_at=None
        )
        return replace(saga, pivot_passed=saga.pivot_passed or step.pivot, attention="")
    if kind is OutcomeKind.REFUSED:
        saga = saga.with_step(at, action=ActionStatus.FAILED)
        if saga.pivot_passed:
            return _suspended(saga, SuspendReason.CONTRACT_VIOLATION)
        return _turned(saga, step.name, outcome.code, outcome.message)

    # Once unknown, only a definite yes or no settles it: that this attempt had no effect proves nothing.
    is_unknown = state.action is ActionStatus.UNKNOWN or not outcome.definite
    after = ActionStatus.UNKNOWN if is_unknown else ActionStatus.WAITING
    if saga.backward:
        return saga.with_step(at, action=after if is_unknown else ActionStatus.FAILED)
    saga, exhausted = _failed_again(step, saga, outcome, now, jitter, action=after)
    if not exhausted:
        return saga
    if kind is OutcomeKind.BUG and (saga.pivot_passed or step.spec.on_bug is OnBug.SUSPEND):
        return _suspended(_given_up(saga, at), SuspendReason.RETRIES_EXHAUSTED)
    if is_unknown and (saga.pivot_passed or step.pivot):
        return _suspended(_given_up(saga, at), SuspendReason.OUTCOME_UNKNOWN)
    if saga.pivot_passed:
        return replace(saga, attention=f"{step.name} failed {saga.steps[at].failures} times: {outcome.message}")
    return _turned(_given_up(saga, at), step.name, outcome.code, outcome.message)


def _finish_compensation(
    step: PlannedStep, saga: SagaState, outcome: Outcome, now: datetime, jitter: Jitter
) -> SagaState:
    at = step.position
    if outcome.kind is OutcomeKind.DONE:
        saga = saga.with_step(at, compensation=CompensationStatus.SUCCEEDED, failures=0, error="", due_at=None)
        return replace(saga, attention="")
    if outcome.kind is OutcomeKind.REFUSED:
        return saga.with_step(at, compensation=CompensationStatus.FAILED)
    saga, exhausted = _failed_again(step, saga, outcome, now, jitter, compensation=CompensationStatus.PENDING)
    if exhausted and outcome.kind is OutcomeKind.BUG:
        return saga.with_step(at, compensation=CompensationStatus.FAILED, due_at=None)
    if exhausted:
        attention = f"the compensation of {step.name} failed {saga.steps[at].failures} times: {outcome.message}"
        return replace(saga, attention=attention)
    return saga


def _failed_again(
    step: PlannedStep, saga: SagaState, outcome: Outcome, now: datetime, jitter: Jitter, **status: Any
) -> tuple[SagaState, bool]:
    """Count a failure and set the backoff; the second value says whether the budget is spent."""
    retry = step.spec.retry
    failures = saga.steps[step.position].failures + 1
    pause = retry.delay(failures, jitter())
    if outcome.retry_after is not None:
        pause = max(pause, outcome.retry_after)
    budget = min(BUG_ATTEMPTS, retry.attempts) if outcome.kind is OutcomeKind.BUG else retry.attempts
    return saga.with_step(step.position, failures=failures, due_at=now + pause, **status), failures >= budget


def _given_up(saga: SagaState, position: int) -> SagaState:
    """An action is not tried again: definitely without effect, it is FAILED; unknown, it stays UNKNOWN."""
    state = saga.steps[position]
    action = ActionStatus.FAILED if state.action is ActionStatus.WAITING else state.action
    return saga.with_step(position, action=action, due_at=None)


def _suspended(saga: SagaState, reason: SuspendReason) -> SagaState:
    if saga.status is SagaStatus.SUSPENDED:
        return saga
    return replace(saga, status=SagaStatus.SUSPENDED, suspend_reason=reason)


# --- turning back -----------------------------------------------------------------------------


def why_not_turn_back(plan: Plan, saga: SagaState) -> str:
    """Why the saga cannot be turned back, in words; empty when it can."""
    if saga.terminal:
        return f"it has ended: {saga.status}"
    if saga.backward:
        return "it is already going backward"
    if saga.pivot_passed:
        return "its pivot has passed"
    for step in plan.steps:
        if step.pivot and (saga.steps[step.position].in_flight or saga.steps[step.position].may_have_happened):
            return f"its pivot {step.name} is under way or its outcome is unknown"
    return ""


def turn_back(plan: Plan, saga: SagaState, code: str, message: str, now: datetime) -> SagaState:
    """Give up going forward: deadline, cancel or an operator's wish. Raises `NotAllowed` past the pivot."""
    reason = why_not_turn_back(plan, saga)
    if reason:
        raise NotAllowed(f"The saga cannot be turned back: {reason}.")
    if saga.status is SagaStatus.SUSPENDED:
        saga = replace(saga, status=SagaStatus.COMPENSATING, suspend_reason=None)
    return advance(plan, _turned(saga, "", code, message), now)


def _turned(saga: SagaState, step: str, code: str, message: str) -> SagaState:
    if saga.backward:
        return saga
    failure = saga.failure or {"step": step, "code": code, "message": message}
    steps = tuple(
        replace(s, action=ActionStatus.FAILED, due_at=None) if s.action is ActionStatus.WAITING else s
        for s in saga.steps
    )
    return replace(saga, backward=True, failure=failure, steps=steps)


# --- what follows from the statuses -------------------------------------------------------------


def advance(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    """Derive everything that follows from the steps' statuses; a second call changes nothing."""
    if saga.terminal:
        return saga
    if saga.status is SagaStatus.SUSPENDED:
        return replace(saga, wake_at=None, waiting_on=None)
    if saga.deadline_at and saga.deadline_at <= now:
        saga = _past_deadline(plan, saga)
    saga = replace(saga, suspend_reason=None)
    return _advance_backward(plan, saga, now) if saga.backward else _advance_forward(plan, saga, now)


def _past_deadline(plan: Plan, saga: SagaState) -> SagaState:
    if not why_not_turn_back(plan, saga):
        return _turned(saga, "", "deadline", "the deadline passed before the point of no return")
    if saga.pivot_passed and not saga.attention:
        return replace(saga, attention="the deadline passed after the point of no return")
    return saga


def _advance_forward(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    active = _active_steps(plan, saga)
    if not active:
        return _ended(saga, SagaStatus.COMPLETED)
    states = [saga.steps[p.position] for p in active]
    if any(s.action is ActionStatus.FAILED for s in states):
        # Given up, and nobody has said yet to try again or to turn back.
        reason = SuspendReason.CONTRACT_VIOLATION if saga.pivot_passed else SuspendReason.RETRIES_EXHAUSTED
        return replace(_suspended(saga, reason), wake_at=None, waiting_on=None)
    at_work = any(s.in_flight or s.due_at is None or s.due_at <= now for s in states)
    fresh = all(s.action_attempts == 0 for s in saga.steps)
    moving = SagaStatus.PENDING if fresh and saga.status is SagaStatus.PENDING else SagaStatus.RUNNING
    saga = replace(saga, status=moving if at_work else SagaStatus.WAITING)
    saga = replace(
        saga, wake_at=_due(saga, states, now), waiting_on=None if at_work else _backoff(active, saga, Side.ACTION)
    )
    if saga.deadline_at and not why_not_turn_back(plan, saga):
        return replace(saga, wake_at=min(saga.wake_at or saga.deadline_at, saga.deadline_at))
    return saga


def _advance_backward(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    for step in plan.steps:
        state = saga.steps[step.position]
        undecided = state.compensation is CompensationStatus.NOT_NEEDED and not state.in_flight
        if undecided and state.may_have_happened and step.has_effect:
            saga = saga.with_step(step.position, **_needed(step))
    active = _active_steps(plan, saga)
    if not active:
        return _ended(saga, SagaStatus.COMPENSATED)
    states = [saga.steps[p.position] for p in active]
    if all(s.compensation is CompensationStatus.FAILED for s in states):
        impossible = all(p.spec.no_compensation is NoCompensation.SUSPEND for p in active)
        reason = SuspendReason.NO_COMPENSATION if impossible else SuspendReason.COMPENSATION_FAILED
        return replace(_suspended(saga, reason), wake_at=None, waiting_on=None)
    can_move = [s for s in states if s.compensation is not CompensationStatus.FAILED]
    waits = all(not s.in_flight and s.due_at is not None and s.due_at > now for s in can_move)
    waiting_on = _backoff(active, saga, Side.COMPENSATION) if waits else None
    return replace(saga, status=SagaStatus.COMPENSATING, wake_at=_due(saga, can_move, now), waiting_on=waiting_on)


def _needed(step: PlannedStep) -> dict[str, Any]:
    impossible = step.spec.no_compensation is NoCompensation.SUSPEND
    status = CompensationStatus.FAILED if impossible else CompensationStatus.PENDING
    return {"compensation": status, "failures": 0, "due_at": None}


def _due(saga: SagaState, states: list[StepState], now: datetime) -> datetime:
    """When the first of the steps can go on. What is due already stays due since then."""
    due = min((s.due_at or now for s in states), default=now)
    return saga.wake_at if due <= now and saga.wake_at and saga.wake_at <= now else due


def _backoff(active: list[PlannedStep], saga: SagaState, side: Side) -> dict[str, Any]:
    """What a saga waits for that only pauses before the next attempt: the step that is due first."""
    waiting = [p for p in active if saga.steps[p.position].due_at is not None]
    step = min(waiting, key=lambda p: _at(saga.steps[p.position]))
    state = saga.steps[step.position]
    kind = "outcome" if side is Side.ACTION and state.action is ActionStatus.UNKNOWN else "backoff"
    return {"kind": kind, "step": step.name, "side": side, "until": _at(state).isoformat(), "why": state.error}


def _at(state: StepState) -> datetime:
    assert state.due_at is not None
    return state.due_at


def _ended(saga: SagaState, status: SagaStatus) -> SagaState:
    steps = tuple(replace(s, due_at=None) for s in saga.steps)
    return replace(saga, steps=steps, status=status, wake_at=None, waiting_on=None)
