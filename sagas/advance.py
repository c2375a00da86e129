"""What follows from the steps' statuses: what may start, what the saga waits for, when it ends. Pure.

`advance` derives the saga's status, what it waits for and when to look again, so no two of them can
disagree. The saga is always at work at one place of its plan: the first that is not done, or on the
way back the last that is not undone.
"""

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from sagas.plan import Plan, PlannedStep
from sagas.snapshot import SagaState, StepState, Task
from sagas.states import DONE_ACTIONS, ActionStatus, CompensationStatus, SagaStatus, Side, SuspendReason
from sagas.steps import Await, AwaitPerson, NoCompensation, OnTimeout

# How often a saga in line for a lock looks for itself.
LOOK_AT_LOCK = timedelta(seconds=10)


# --- what may start ---------------------------------------------------------------------------


def next_task(plan: Plan, saga: SagaState, now: datetime) -> Task | None:
    """The first attempt that may start now, or None when there is nothing to start."""
    if saga.terminal or saga.status is SagaStatus.SUSPENDED or is_in_line(saga):
        return None
    side = Side.COMPENSATION if saga.backward else Side.ACTION
    for step in _active_steps(plan, saga):
        if _is_ready(step, saga, now):
            unknown = saga.steps[step.position].action is ActionStatus.UNKNOWN
            return Task(step.position, side, settle=not saga.backward and unknown)
    return None


def is_in_line(saga: SagaState) -> bool:
    """Whether nothing may start before the saga has its locks.

    One that turns back before its first step needs none. One that did something and lost a lock to an
    operator's release needs it on the way back as well: somebody else may be at the resource.
    """
    return bool(saga.blocked_on) and (not saga.backward or any(s.action_attempts for s in saga.steps))


def _active_steps(plan: Plan, saga: SagaState) -> list[PlannedStep]:
    """The steps of the one place where the saga is at work, in the order of the plan."""
    if saga.backward:
        if any(s.in_flight and s.compensation is CompensationStatus.NOT_NEEDED for s in saga.steps):
            # An action may still run: nothing is undone before it has settled.
            return [p for p in plan.steps if saga.steps[p.position].in_flight]
        open_steps = [p for p, s in zip(plan.steps, saga.steps, strict=True) if _to_undo(s)]
        place = open_steps[-1].place if open_steps else None
    else:
        open_steps = [p for p, s in zip(plan.steps, saga.steps, strict=True) if s.action not in DONE_ACTIONS]
        place = open_steps[0].place if open_steps else None
    return [p for p in open_steps if p.place == place]


def is_at(plan: Plan, saga: SagaState, step: PlannedStep) -> bool:
    """Whether the saga is at work at the place of this step, and it is open."""
    return step in _active_steps(plan, saga)


def _is_ready(step: PlannedStep, saga: SagaState, now: datetime) -> bool:
    """Whether a step of the active place can start an attempt now."""
    state = saga.steps[step.position]
    if state.in_flight:
        return False
    is_due = state.due_at is None or state.due_at <= now
    if saga.backward:
        return state.compensation is CompensationStatus.PENDING and is_due
    if step.awaits:
        # The signal ends the wait; its own time limit matters only until then, a backoff still does.
        came = step.name in saga.signals
        return state.action is ActionStatus.WAITING and came and (is_due or not state.failures)
    if step.wait:
        return state.action is ActionStatus.WAITING and is_due
    return state.action in (ActionStatus.PENDING, ActionStatus.WAITING, ActionStatus.UNKNOWN) and is_due


def _ready(active: list[PlannedStep], saga: SagaState, now: datetime) -> bool:
    return any(_is_ready(step, saga, now) for step in active)


def _to_undo(state: StepState) -> bool:
    return state.compensation in (
        CompensationStatus.PENDING,
        CompensationStatus.RUNNING,
        CompensationStatus.FAILED,
    )


# --- what follows from the statuses -------------------------------------------------------------


def advance(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    """Derive everything that follows from the steps' statuses; a second call changes nothing."""
    if saga.terminal:
        return saga
    if saga.status is SagaStatus.SUSPENDED:
        return replace(saga, wake_at=None, waiting_on=None)
    if saga.deadline_at and saga.deadline_at <= now:
        saga = _past_deadline(plan, saga)
    if saga.blocked_on and not saga.backward and saga.blocked_until and saga.blocked_until <= now:
        saga = turned(saga, "", "lock_timeout", f"{saga.blocked_on} was held by another saga for too long")
    if saga.suspend_reason is not None:
        saga = replace(saga, suspend_reason=None)
    if saga.backward:
        saga = _with_needed_compensations(plan, saga)
    if is_in_line(saga) and _active_steps(plan, saga):
        return _blocked(saga, now)
    return _advance_backward(plan, saga, now) if saga.backward else _advance_forward(plan, saga, now)


def _blocked(saga: SagaState, now: datetime) -> SagaState:
    """In line for a lock. Whoever lets go hands over and wakes us; looking now and then is the second net."""
    limits = [t for t in (saga.blocked_until, saga.deadline_at, now + LOOK_AT_LOCK) if t is not None and t > now]
    wait = {"kind": "lock", "step": saga.blocked_on, "side": Side.ACTION, "until": _iso(saga.blocked_until), "why": ""}
    kept = saga.wake_at if saga.waiting_on == wait and saga.wake_at and saga.wake_at > now else min(limits)
    status = SagaStatus.COMPENSATING if saga.backward else SagaStatus.WAITING
    return replace(saga, status=status, wake_at=kept, waiting_on=wait)


def _past_deadline(plan: Plan, saga: SagaState) -> SagaState:
    if not why_not_turn_back(plan, saga):
        return turned(saga, "", "deadline", "the deadline passed before the point of no return")
    if saga.pivot_passed and not saga.attention:
        return replace(saga, attention="the deadline passed after the point of no return")
    return saga


def _advance_forward(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    active = _active_steps(plan, saga)
    if not active:
        return ended(saga, SagaStatus.COMPLETED)
    failed = [s for s in (saga.steps[p.position] for p in active) if s.action is ActionStatus.FAILED]
    if failed:
        # Given up, and nobody has said yet to try again or to turn back. A refusal leaves no failures to count.
        gave_up = any(state.failures for state in failed)
        reason = SuspendReason.RETRIES_EXHAUSTED if gave_up else SuspendReason.CONTRACT_VIOLATION
        return replace(suspended(saga, reason), wake_at=None, waiting_on=None)
    for step in active:
        saga = _waited(step, saga, now)
    if saga.backward:
        return _advance_backward(plan, saga, now)
    ready = _ready(active, saga, now)
    at_work = ready or any(saga.steps[p.position].in_flight for p in active)
    fresh = saga.status is SagaStatus.PENDING and all(s.action_attempts == 0 for s in saga.steps)
    moving = SagaStatus.PENDING if fresh else SagaStatus.RUNNING
    saga = replace(
        saga,
        status=moving if at_work else SagaStatus.WAITING,
        wake_at=_due(active, ready, saga, now),
        waiting_on=None if at_work else _waiting_on(active, saga),
    )
    if saga.deadline_at and saga.deadline_at > now and (saga.pivot_passed or not why_not_turn_back(plan, saga)):
        # Past the pivot it raises attention, however long the saga would wait otherwise.
        return replace(saga, wake_at=min(saga.wake_at or saga.deadline_at, saga.deadline_at))
    return saga


def _waited(step: PlannedStep, saga: SagaState, now: datetime) -> SagaState:
    """A step that waits: let its time begin when the saga comes to it, and see when it is over."""
    if step.wait is None:
        return saga
    state = saga.steps[step.position]
    if state.action is ActionStatus.PENDING:
        due_at = now + step.wait.within if step.wait.within is not None else None
        return saga.with_step(step.position, action=ActionStatus.WAITING, due_at=due_at)
    over = state.action is ActionStatus.WAITING and state.due_at is not None and state.due_at <= now
    if not isinstance(step.spec, Await) or not over or state.failures or step.name in saga.signals:
        return saga
    if step.spec.on_timeout is OnTimeout.BACKWARD and not saga.pivot_passed:
        return turned(saga, step.name, "timed_out", f"{step.name} did not come in time")
    attention = also(saga.attention, overdue_words(step))
    return replace(saga.with_step(step.position, due_at=None), attention=attention)


def overdue_words(step: PlannedStep) -> str:
    return f"{step.name} is overdue"


def still_overdue(plan: Plan, saga: SagaState, attention: str) -> str:
    """Of what asked for attention the waits that still do: they end with what is waited for, and with nothing else."""
    waiting = {overdue_words(p) for p in plan.steps if saga.steps[p.position].action is ActionStatus.WAITING}
    return also(*(words for words in attention.split("; ") if words in waiting))


def also(*words: str) -> str:
    """What asks for attention, of several things."""
    return "; ".join(filter(None, words))


def _with_needed_compensations(plan: Plan, saga: SagaState) -> SagaState:
    for step in plan.steps:
        state = saga.steps[step.position]
        undecided = state.compensation is CompensationStatus.NOT_NEEDED and not state.in_flight
        if undecided and state.may_have_happened and step.has_effect:
            saga = saga.with_step(step.position, **_needed(step))
    return saga


def _advance_backward(plan: Plan, saga: SagaState, now: datetime) -> SagaState:
    saga = _with_needed_compensations(plan, saga)
    active = _active_steps(plan, saga)
    if not active:
        return ended(saga, SagaStatus.COMPENSATED)
    states = [saga.steps[p.position] for p in active]
    if all(s.compensation is CompensationStatus.FAILED for s in states):
        impossible = all(p.spec.no_compensation is NoCompensation.SUSPEND for p in active)
        reason = SuspendReason.NO_COMPENSATION if impossible else SuspendReason.COMPENSATION_FAILED
        return replace(suspended(saga, reason), wake_at=None, waiting_on=None)
    active = [p for p in active if saga.steps[p.position].compensation is not CompensationStatus.FAILED]
    ready = _ready(active, saga, now)
    at_work = ready or any(saga.steps[p.position].in_flight for p in active)
    return replace(
        saga,
        status=SagaStatus.COMPENSATING,
        wake_at=_due(active, ready, saga, now),
        waiting_on=None if at_work else _waiting_on(active, saga),
    )


def _needed(step: PlannedStep) -> dict[str, Any]:
    impossible = step.spec.no_compensation is NoCompensation.SUSPEND
    status = CompensationStatus.FAILED if impossible else CompensationStatus.PENDING
    return {"compensation": status, "failures": 0, "due_at": None}


def _due(active: list[PlannedStep], ready: bool, saga: SagaState, now: datetime) -> datetime | None:
    """When the first of the steps can go on; None when only a signal can end the wait.

    What is due already stays due since then.
    """
    if ready:
        return saga.wake_at if saga.wake_at and saga.wake_at <= now else now
    return min((s.due_at for s in (saga.steps[p.position] for p in active) if s.due_at is not None), default=None)


def _waiting_on(active: list[PlannedStep], saga: SagaState) -> dict[str, Any]:
    """What a saga waits for: of several steps the one that is due first, one without a time limit last."""
    limits = {p.position: saga.steps[p.position].due_at for p in active}
    timed = [p for p in active if limits[p.position] is not None]
    step = min(timed, key=lambda p: limits[p.position] or datetime.max) if timed else active[0]
    state, until = saga.steps[step.position], limits[step.position]
    side = Side.COMPENSATION if saga.backward else Side.ACTION
    return {
        "kind": _kind_of_wait(step, saga),
        "step": step.name,
        "side": side,
        "until": _iso(until),
        "why": state.error,
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _kind_of_wait(step: PlannedStep, saga: SagaState) -> str:
    state = saga.steps[step.position]
    if saga.backward or state.failures:
        return "outcome" if state.action is ActionStatus.UNKNOWN and not saga.backward else "backoff"
    if step.awaits:
        return "human" if isinstance(step.spec, AwaitPerson) else "signal"
    if step.wait:
        return "timer"
    return "outcome" if state.action is ActionStatus.UNKNOWN else "backoff"


def ended(saga: SagaState, status: SagaStatus) -> SagaState:
    steps = tuple(replace(s, due_at=None) for s in saga.steps)
    return replace(saga, steps=steps, status=status, wake_at=None, waiting_on=None)


# --- turning back, and stopping ---------------------------------------------------------------


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
        waits = saga.steps[step.position].action not in DONE_ACTIONS
        if isinstance(step.spec, Await) and step.spec.carried_by_others and waits:
            return f"others act for it until {step.name} comes; turn back what one of them does"
    return ""


def turned(saga: SagaState, step: str, code: str, message: str) -> SagaState:
    """The saga goes backward from now on; the first failure stays. What only paused is given up."""
    if saga.backward:
        return saga
    failure = saga.failure or {"step": step, "code": code, "message": message}
    return replace(saga, backward=True, failure=failure, steps=tuple(_not_tried_again(s) for s in saga.steps))


def _not_tried_again(state: StepState) -> StepState:
    if state.in_flight:
        return state
    action = ActionStatus.FAILED if state.action is ActionStatus.WAITING else state.action
    return replace(state, action=action, due_at=None)


def suspended(saga: SagaState, reason: SuspendReason) -> SagaState:
    """Nothing moves until a person acts; the first reason stays."""
    if saga.status is SagaStatus.SUSPENDED:
        return saga
    return replace(saga, status=SagaStatus.SUSPENDED, suspend_reason=reason)
