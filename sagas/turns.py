"""One turn of one saga, inside the transaction that holds its row: run what may run, and see where that leads.

A turn has the effects of a step function, and says what is to be written of the saga; `engine` makes the commits.
"""

import logging
import random
from datetime import datetime, timedelta
from time import monotonic
from typing import NamedTuple

from django.db import InterfaceError, InternalError, OperationalError, transaction
from msgspec.structs import replace

from sagas import failpoints, locks, logs, machine, signals
from sagas.attempts import Call, arguments, attempt_row, context, lease_of
from sagas.codec import from_json, result_type, to_json
from sagas.outcomes import Outcome, OutcomeKind, Transient, outcome_of
from sagas.plan import Plan, PlannedStep
from sagas.snapshot import SagaState, Task
from sagas.states import SagaStatus, Side, SuspendReason
from sagas.steps import Remote
from sagas.store import LoadedSaga, began_under_newer_code
from sagas.writing import Move

logger = logging.getLogger(__name__)

# The database went away or gave up waiting: whether a commit happened, only the rows know.
WEATHER = (OperationalError, InterfaceError)

# PostgreSQL ended the session of a transaction that idled too long; Django takes that for an internal error.
SESSION_ENDED = frozenset({"25P03", "25P04"})


# The code of an outcome that is the weather in a step.
DATABASE = "database"

# A deploy is under way: how long a saga waits for a worker that knows its plan, and how often one looks.
WAIT_FOR_CODE = timedelta(minutes=10)
LOOK_FOR_CODE = timedelta(seconds=5)


class Turn(NamedTuple):
    """What is to be written of a saga, and the call that may be made when it is."""

    move: Move
    call: Call | None = None


class StepRaised(Exception):
    """A step function raised: what it wrote has to be rolled back, and its outcome to be written after that."""

    def __init__(self, saga: LoadedSaga, task: Task, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.saga, self.task, self.outcome = saga, task, outcome


def session_ended(error: Exception) -> bool:
    return isinstance(error, InternalError) and getattr(error.__cause__, "sqlstate", "") in SESSION_ENDED


def is_weather(error: Exception) -> bool:
    return isinstance(error, WEATHER) or session_ended(error)


def next_turn(saga: LoadedSaga) -> Turn:
    """Close what is over, then run what may run. Raises `StepRaised`."""
    plan = saga.plan
    if plan is None:
        return _wait_for_code(saga)
    after, closed = machine.lease_over(plan, saga.state, saga.now, random.random)
    if closed:
        return _close_leases(saga, after, closed)
    saga = _with_locks(saga, plan)
    state = machine.advance(plan, saga.state, saga.now)
    task = machine.next_task(plan, state, saga.now)
    if task is None or state.backward is not saga.state.backward:
        failpoints.enter("advance")
        return Turn(Move(saga, state, why=state.failure["message"] if state.failure else ""))
    step = plan.steps[task.position]
    return begin(saga, step, task) if step.is_remote(task.side) else _run(saga, step, task)


def _with_locks(saga: LoadedSaga, plan: Plan) -> LoadedSaga:
    """A saga in line, after one more look whether it may have its locks."""
    if not machine.is_in_line(saga.state):
        return saga
    blocked_on = locks.take_or_wait(plan, saga.data, saga.id, saga.state)
    return replace(saga, state=replace(saga.state, blocked_on=blocked_on))


# --- a local step ---------------------------------------------------------------------------------


def _run(saga: LoadedSaga, step: PlannedStep, task: Task) -> Turn:
    function = step.function(task.side)
    assert function is not None
    started = monotonic()
    try:
        failpoints.enter("step", step.name, task.side)
        extra = (signals.take(saga, step),) if step.awaits and task.side is Side.ACTION else arguments(saga, task)
        ctx = context(saga, task)
        with logs.about(ctx, task.side):
            receipt = to_json(function(ctx, *extra))
        if transaction.get_rollback():
            raise transaction.TransactionManagementError(f"{step.name} asked for a rollback: raise an error instead")
        if monotonic() - started > step.spec.timeout.total_seconds():
            raise Transient(f"{step.name} took longer than its time-out of {step.spec.timeout.total_seconds():g} s")
    except Exception as error:
        raise StepRaised(saga, task, replace(_rolled_back(error), took=_since(started))) from error
    return finish(saga, task, Outcome(OutcomeKind.DONE, receipt=receipt, took=_since(started)))


def _since(started: float) -> timedelta:
    return timedelta(seconds=monotonic() - started)


def _rolled_back(error: Exception) -> Outcome:
    """What was rolled back had no effect. A lost connection or a deadlock is the weather."""
    outcome = outcome_of(error, called=False)
    if is_weather(error):
        return replace(outcome, kind=OutcomeKind.TRANSIENT, code=DATABASE)
    return outcome


def after_raising(saga: LoadedSaga, raised: StepRaised) -> Turn:
    """What a rolled-back step leaves behind: the attempt, and where it leads."""
    plan = saga.plan
    assert plan is not None
    saga, step = _with_locks(saga, plan), plan.steps[raised.task.position]
    if step.awaits and raised.task.side is Side.ACTION and raised.outcome.kind is OutcomeKind.REFUSED:
        # A no is what came of the signal; after an accident the next attempt uses it again.
        signals.take(saga, step)
    return finish(saga, raised.task, raised.outcome)


def finish(saga: LoadedSaga, task: Task, outcome: Outcome) -> Turn:
    """An attempt that starts and ends in this commit."""
    assert saga.plan is not None
    after = machine.finish(saga.plan, saga.state, task.position, task.side, outcome, saga.now, random.random)
    number = after.steps[task.position].attempts(task.side)
    row = attempt_row(saga, task, number, after.generation, outcome)
    return Turn(Move(saga, after, (row,), why=outcome.message))


# --- a remote step --------------------------------------------------------------------------------


def begin(saga: LoadedSaga, step: PlannedStep, task: Task) -> Turn:
    """Before the call: the intent, its key, its lease and its fencing token."""
    function = step.function(task.side)
    assert isinstance(function, Remote)
    assert saga.plan is not None
    try:
        failpoints.enter("begin", step.name, task.side)
        ctx, extra = context(saga, task), arguments(saga, task)
        with logs.about(ctx, task.side):
            request = function.prepare(ctx, *extra) if function.prepare else next(iter(extra), None)
    except Exception as error:
        raise StepRaised(saga, task, _rolled_back(error)) from error
    lease = lease_of(step, task)
    after = machine.begin(saga.plan, saga.state, task, saga.now, lease)
    number = after.steps[task.position].attempts(task.side)
    call = Call(saga.id, step, task, after.generation, lease, ctx, request, due=is_due(saga, after))
    return Turn(Move(saga, after, (attempt_row(saga, task, number, after.generation),)), call)


def record(saga: LoadedSaga, call: Call, outcome: Outcome, *, hooks: bool) -> Turn | None:
    """After the call: what came of it. None when the attempt is no longer the current one."""
    failpoints.enter("record", call.step.name, call.task.side)
    position, side = call.task.position, call.task.side
    if saga.plan is None or saga.state.steps[position].token != call.token:
        logger.warning("a late outcome of %s missed saga %s: %s", call.step.name, call.saga_id, outcome.kind)
        return None
    if hooks:
        try:
            with logs.about(call.ctx, side):
                _run_hook(call, outcome)
        except Exception as error:
            if is_weather(error):
                raise
            raise StepRaised(saga, call.task, outcome_of(error, called=True)) from error
    row = attempt_row(saga, call.task, saga.state.steps[position].attempts(side), call.token, outcome)
    after = machine.finish(saga.plan, saga.state, position, side, outcome, saga.now, random.random)
    return Turn(Move(saga, after, (row,), why=outcome.message))


def _run_hook(call: Call, outcome: Outcome) -> None:
    function = call.step.function(call.task.side)
    assert isinstance(function, Remote)
    if outcome.kind is OutcomeKind.DONE and function.record is not None:
        function.record(call.ctx, from_json(result_type(function), outcome.receipt))
    elif outcome.kind is OutcomeKind.REFUSED and function.refused is not None:
        function.refused(call.ctx, outcome.error)


def _close_leases(saga: LoadedSaga, after: SagaState, closed: list[Task]) -> Turn:
    """Every attempt whose worker did not come back in time: its outcome is unknown."""
    failpoints.enter("lease-over")
    outcome, steps = machine.LEASE_IS_OVER, saga.state.steps
    rows = tuple(
        attempt_row(saga, task, steps[task.position].attempts(task.side), steps[task.position].token, outcome)
        for task in closed
    )
    return Turn(Move(saga, after, rows, why=outcome.message))


# --- what a turn can come to ----------------------------------------------------------------------


def suspend(saga: LoadedSaga, reason: SuspendReason, why: str) -> Turn:
    """A saga that cannot go on as it is: a person has to look."""
    failpoints.enter("suspend")
    state = replace(
        saga.state,
        status=SagaStatus.SUSPENDED,
        suspend_reason=reason,
        attention=why,
        wake_at=None,
        waiting_on=None,
    )
    return Turn(Move(saga, state, why=why))


def _wait_for_code(saga: LoadedSaga) -> Turn:
    """No plan here continues it. One that newer code began is left to that code, but not for ever."""
    wait = saga.state.waiting_on or {}
    until = datetime.fromisoformat(wait["until"]) if wait.get("kind") == "code" else saga.now + WAIT_FOR_CODE
    if saga.now >= until or not began_under_newer_code(saga):
        return suspend(saga, SuspendReason.DEFINITION_MISMATCH, "the code here has no plan that continues it")
    failpoints.enter("advance")
    state = replace(
        saga.state,
        status=SagaStatus.COMPENSATING if saga.state.backward else SagaStatus.WAITING,
        wake_at=min(saga.now + LOOK_FOR_CODE, until),
        waiting_on={"kind": "code", "step": "", "side": Side.ACTION, "until": until.isoformat(), "why": ""},
    )
    return Turn(Move(saga, state, why="it began under newer code than that of the worker that took it up"))


def is_due(saga: LoadedSaga, after: SagaState) -> bool:
    return after.wake_at is not None and after.wake_at <= saga.now
