"""What happens next, from a plan and the statuses. Pure: no Django, no queue, no clock of its own.

Every function takes a `SagaState` and returns the next one; `engine` stores it, `testing.play`
keeps it in memory. Here is what an attempt does to its step; `advance` derives the rest.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from sagas.advance import (
    advance,
    also,
    is_in_line,
    next_task,
    still_overdue,
    suspended,
    turned,
    why_not_turn_back,
)
from sagas.outcomes import Outcome, OutcomeKind
from sagas.plan import Plan, PlannedStep
from sagas.snapshot import SagaState, StepState, Task
from sagas.states import ActionStatus, CompensationStatus, SagaStatus, Side, SuspendReason
from sagas.steps import OnBug

# A bug is tried again in case it was the weather; more often would only repeat its damage. All failures of a step
# share one count: a bug that follows two accidents comes to a person at once, which is early and never wrong.
BUG_ATTEMPTS = 3

# Whoever names a longer time is asked again after this one: it may be garbage, and years are no pause.
LONGEST_RETRY_AFTER = timedelta(days=1)

LEASE_IS_OVER = Outcome(
    OutcomeKind.LEASE_OVER, code="lease_over", message="the worker did not come back in time", definite=False
)
CUT_OFF = replace(LEASE_IS_OVER, message="an operator waited for it no longer")

Jitter = Callable[[], float]

__all__ = [
    "BUG_ATTEMPTS",
    "CUT_OFF",
    "LEASE_IS_OVER",
    "NotAllowed",
    "advance",
    "begin",
    "fence",
    "finish",
    "is_in_line",
    "lease_over",
    "next_task",
    "turn_back",
    "why_not_turn_back",
]


class NotAllowed(Exception):
    """The saga's state does not allow this; the message says why."""


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
    closed: dict[str, Any] = {"token": 0, "due_at": None, "error": outcome.message}
    if not state.in_flight:
        closed |= _counted(state, side)
        if state.action is ActionStatus.UNKNOWN and outcome.kind is OutcomeKind.REFUSED and side is Side.ACTION:
            # No call was made this time, so the no is not an answer to the one that may have happened.
            outcome = replace(outcome, kind=OutcomeKind.UNKNOWN, definite=False)
    saga = saga.with_step(position, **closed)
    act = _finish_action if side is Side.ACTION else _finish_compensation
    after = act(plan.steps[position], saga, outcome, now, jitter)
    if after.attention != saga.attention:
        after = replace(after, attention=also(still_overdue(plan, after, saga.attention), after.attention))
    return advance(plan, after, now)


def lease_over(plan: Plan, saga: SagaState, now: datetime, jitter: Jitter) -> tuple[SagaState, list[Task]]:
    """Close the attempts whose lease is over: their worker is presumed dead, their outcome is unknown."""
    over = [
        position
        for position, state in enumerate(saga.steps)
        if state.in_flight and state.due_at is not None and state.due_at <= now
    ]
    return _cut_off(plan, saga, over, LEASE_IS_OVER, now, jitter) if over else (saga, [])


def fence(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    """Wait no longer for what is under way: nothing that began before this moment is recorded as the saga's."""
    under_way = [at for at, s in enumerate(saga.steps) if s.in_flight]
    return _cut_off(plan, saga, under_way, CUT_OFF, now, lambda: 1.0)[0]


def _cut_off(
    plan: Plan, saga: SagaState, positions: list[int], outcome: Outcome, now: datetime, jitter: Jitter
) -> tuple[SagaState, list[Task]]:
    """The generation grows and the tokens go, so that a late write of those workers misses."""
    closed = []
    for position in positions:
        compensating = saga.steps[position].compensation is CompensationStatus.RUNNING
        side = Side.COMPENSATION if compensating else Side.ACTION
        closed.append(Task(position, side))
        saga = finish(plan, saga, position, side, outcome, now, jitter)
    return replace(saga, generation=saga.generation + 1), closed


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
        signals = saga.signals - {step.name}
        return replace(saga, pivot_passed=saga.pivot_passed or step.pivot, signals=signals, attention="")
    if kind is OutcomeKind.REFUSED:
        saga = saga.with_step(at, action=ActionStatus.FAILED, failures=0)
        saga = replace(saga, signals=saga.signals - {step.name})
        if saga.pivot_passed:
            return suspended(saga, SuspendReason.CONTRACT_VIOLATION)
        return turned(saga, step.name, outcome.code, outcome.message)

    # Once unknown, only a definite yes or no settles it: that this attempt had no effect proves nothing.
    is_unknown = state.action is ActionStatus.UNKNOWN or not outcome.definite
    after = ActionStatus.UNKNOWN if is_unknown else ActionStatus.WAITING
    if saga.backward:
        return saga.with_step(at, action=after if is_unknown else ActionStatus.FAILED)
    saga, exhausted = _failed_again(step, saga, outcome, now, jitter, action=after)
    if not exhausted:
        return saga
    if kind is OutcomeKind.BUG and (saga.pivot_passed or step.spec.on_bug is OnBug.SUSPEND):
        return suspended(_given_up(saga, at), SuspendReason.RETRIES_EXHAUSTED)
    if is_unknown and (saga.pivot_passed or step.pivot):
        return suspended(_given_up(saga, at), SuspendReason.OUTCOME_UNKNOWN)
    if saga.pivot_passed:
        return replace(saga, attention=f"{step.name} failed {saga.steps[at].failures} times: {outcome.message}")
    return turned(_given_up(saga, at), step.name, outcome.code, outcome.message)


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
    if outcome.retry_after is not None and outcome.retry_after > timedelta(0):
        # The service names its time, so our own backoff does not grow; spread, since many were told the same.
        pause = min(outcome.retry_after, LONGEST_RETRY_AFTER) * (1 + jitter() / 2)
    budget = min(BUG_ATTEMPTS, retry.attempts) if outcome.kind is OutcomeKind.BUG else retry.attempts
    return saga.with_step(step.position, failures=failures, due_at=now + pause, **status), failures >= budget


def _given_up(saga: SagaState, position: int) -> SagaState:
    """An action is not tried again: definitely without effect, it is FAILED; unknown, it stays UNKNOWN."""
    state = saga.steps[position]
    action = ActionStatus.FAILED if state.action is ActionStatus.WAITING else state.action
    return saga.with_step(position, action=action, due_at=None)


# --- turning back -----------------------------------------------------------------------------


def turn_back(plan: Plan, saga: SagaState, code: str, message: str, now: datetime) -> SagaState:
    """Give up going forward: deadline, cancel or an operator's wish. Raises `NotAllowed` past the pivot."""
    reason = why_not_turn_back(plan, saga)
    if reason:
        raise NotAllowed(f"The saga cannot be turned back: {reason}.")
    if saga.status is SagaStatus.SUSPENDED:
        saga = replace(saga, status=SagaStatus.COMPENSATING, suspend_reason=None)
    return advance(plan, turned(saga, "", code, message), now)
