"""What holds of every state of a saga, of the start of an attempt, and of any two states in a row."""

from datetime import datetime

from sagas import machine
from sagas.plan import Plan
from sagas.snapshot import SagaState, StepState, Task
from sagas.states import ActionStatus, CompensationStatus, SagaStatus, Side

UNDONE = {CompensationStatus.SUCCEEDED, CompensationStatus.WAIVED}


def check_state(plan: Plan, saga: SagaState, now: datetime) -> None:
    """What holds of any state, at any time."""
    assert machine.advance(plan, saga, now) == saga, "advance changes nothing a second time"
    task = machine.next_task(plan, saga, now)
    if saga.terminal:
        _check_rest(saga)
        assert task is None
    elif saga.status is SagaStatus.SUSPENDED:
        assert saga.suspend_reason is not None
        assert saga.wake_at is None
        assert saga.waiting_on is None
        assert task is None
    else:
        assert saga.suspend_reason is None
        assert saga.wake_at is not None, "a live saga is looked at again"
        assert (saga.waiting_on is not None) == (saga.status is SagaStatus.WAITING or _pauses_backward(saga))
        lease_over = any(s.in_flight and s.due_at is not None and s.due_at <= now for s in saga.steps)
        assert (saga.wake_at <= now) == (task is not None or lease_over), "no hot loop, and nobody forgets it"
    assert saga.backward == (saga.status in (SagaStatus.COMPENSATING, SagaStatus.COMPENSATED)) or (
        saga.status in (SagaStatus.SUSPENDED, SagaStatus.ABANDONED)
    )
    _check_steps(plan, saga)
    if saga.status is SagaStatus.COMPLETED:
        assert {s.action for s in saga.steps} <= {ActionStatus.SUCCEEDED, ActionStatus.SKIPPED}
    if saga.status is SagaStatus.COMPENSATED:
        assert not saga.pivot_passed
        for step in plan.steps:
            needed = step.has_effect and saga.steps[step.position].may_have_happened
            expected = UNDONE if needed else {CompensationStatus.NOT_NEEDED}
            assert saga.steps[step.position].compensation in expected


def _check_rest(saga: SagaState) -> None:
    assert saga.wake_at is None
    assert saga.waiting_on is None
    assert saga.suspend_reason is None
    assert all(s.token == 0 and s.due_at is None for s in saga.steps)


def _pauses_backward(saga: SagaState) -> bool:
    return saga.status is SagaStatus.COMPENSATING and saga.waiting_on is not None


def _check_steps(plan: Plan, saga: SagaState) -> None:
    reached = max((p.place for p in plan.steps if _was_touched(saga.steps[p.position])), default=0)
    at_work = {p.place for p in plan.steps if saga.steps[p.position].due_at is not None}
    assert len(at_work) <= 1, "a saga is at work at one place"
    assert not saga.backward or all(s.action is not ActionStatus.WAITING for s in saga.steps), (
        "given up on the way back"
    )
    compensating = any(s.compensation is CompensationStatus.RUNNING for s in saga.steps)
    for step in plan.steps:
        state = saga.steps[step.position]
        if step.place < reached and not saga.backward:
            assert state.action in (ActionStatus.SUCCEEDED, ActionStatus.SKIPPED), "one place after the other"
        if state.compensation is not CompensationStatus.NOT_NEEDED:
            assert saga.backward
            assert state.may_have_happened, "what certainly has no effect is not compensated"
            assert step.has_effect
            assert step.kind == "COMPENSATABLE", "nothing at or after the pivot is undone"
        if state.in_flight:
            assert step.is_remote(Side.ACTION) or step.is_remote(Side.COMPENSATION)
            assert state.token <= saga.generation
            running = state.compensation is CompensationStatus.RUNNING
            assert running or not compensating, "no compensation runs while an action may"
            assert running or state.action in (ActionStatus.RUNNING, ActionStatus.UNKNOWN)
        else:
            assert state.due_at is None or _open(saga, state), "only what is to be done is due"
            assert state.action is not ActionStatus.RUNNING
            assert state.compensation is not CompensationStatus.RUNNING
        if not step.is_remote(Side.ACTION):
            assert state.action not in (ActionStatus.RUNNING, ActionStatus.UNKNOWN), "a local step is never unknown"
        if step.pivot:
            assert saga.pivot_passed == (state.action is ActionStatus.SUCCEEDED)
    tokens = [s.token for s in saga.steps if s.in_flight]
    assert len(set(tokens)) == len(tokens)
    assert not (saga.pivot_passed and saga.backward)


def _open(saga: SagaState, state: StepState) -> bool:
    if saga.backward:
        return state.compensation is CompensationStatus.PENDING
    return state.action in (ActionStatus.WAITING, ActionStatus.UNKNOWN)


def _was_touched(state: StepState) -> bool:
    return state.action is not ActionStatus.PENDING


def check_start(plan: Plan, saga: SagaState, task: Task) -> None:
    """What has to hold in the moment an attempt starts."""
    step = plan.steps[task.position]
    assert step.function(task.side) is not None
    assert not saga.steps[task.position].in_flight
    if task.side is Side.ACTION:
        assert not saga.backward, "no new action starts on the way back"
        return
    assert saga.backward
    for other in plan.steps:
        state = saga.steps[other.position]
        if state.in_flight:
            assert state.compensation is CompensationStatus.RUNNING, "no compensation starts while an action may run"
        if other.place > step.place and other.has_effect and state.may_have_happened:
            assert state.compensation in UNDONE, "reverse order"


def check_history(before: SagaState, after: SagaState) -> None:
    """What only grows, and what is written once."""
    assert after.generation >= before.generation
    assert after.pivot_passed or not before.pivot_passed
    assert after.backward or not before.backward
    assert before.failure is None or after.failure == before.failure
    for old, new in zip(before.steps, after.steps, strict=True):
        assert new.action_attempts - old.action_attempts in (0, 1)
        assert new.compensation_attempts - old.compensation_attempts in (0, 1)
        if new.token != old.token and new.token:
            assert new.token == after.generation > before.generation
        if old.action is ActionStatus.SUCCEEDED:
            assert new.receipt == old.receipt, "a receipt is frozen"
