"""Claim, run, record, advance: the only place that runs step functions and moves a saga on.

`work` does one thing for one saga in one commit. A local step is that one commit: its effect
and the saga's progress stand or fall together. A remote step takes two: `work` records the
attempt and returns the `Call`; whoever makes it gives the outcome to `record`.
"""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from django.db import InterfaceError, InternalError, OperationalError, transaction

from sagas import failpoints, locks, machine, signals, store
from sagas.attempts import Call, arguments, attempt_row, context, lease_of
from sagas.codec import from_json, result_type, to_json
from sagas.outcomes import Outcome, OutcomeKind, Transient, outcome_of
from sagas.plan import Plan, PlannedStep
from sagas.redaction import words_of
from sagas.snapshot import SagaState, Task
from sagas.states import SagaStatus, Side, SuspendReason
from sagas.steps import Remote
from sagas.store import LoadedSaga

logger = logging.getLogger(__name__)

# A saga still due after this long, though workers look all the time, may be one that kills them.
LATE = timedelta(seconds=5)
MAX_STALLS = 5

# The database went away or gave up waiting: whether a commit happened, only the rows know.
WEATHER = (OperationalError, InterfaceError)


# PostgreSQL ended the session of a transaction that idled too long; Django takes that for an internal error.
SESSION_ENDED = frozenset({"25P03", "25P04"})


@dataclass(frozen=True, slots=True)
class Moved:
    """A saga got one step further. ``due`` says whether it can go on at once."""

    saga_id: UUID
    due: bool


class _StepRaised(Exception):
    """A step function raised: what it wrote is rolled back, and the outcome gets a commit of its own."""

    def __init__(self, saga: LoadedSaga, task: Task, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.saga, self.task, self.outcome = saga, task, outcome


@contextmanager
def _commit() -> Iterator[None]:
    """One commit of the engine's own: a step cannot be part of another, or commit by itself."""
    try:
        with failpoints.committing(transaction.atomic(durable=True)):
            yield
    except InternalError as error:
        if _session_ended(error):
            raise OperationalError(str(error)) from error
        raise


def _session_ended(error: Exception) -> bool:
    return isinstance(error, InternalError) and getattr(error.__cause__, "sqlstate", "") in SESSION_ENDED


def work(saga_id: UUID | None = None) -> Moved | Call | None:
    """Do the next thing for one saga: the given one, or the one that has been due the longest.

    Returns None when there is nothing to do or somebody else is at it, a `Call` to be made
    outside any transaction and then handed to `record`, or how the saga moved.
    Raises `WEATHER` when it is unknown whether the commit happened; call again, the rows know.
    """
    saga = None
    failpoints.point("work", "entry")
    try:
        try:
            with _commit():
                saga = store.claim() if saga_id is None else store.take_up(saga_id, wait=False)
                if saga is None or saga.state.terminal:
                    return None
                if saga_id is None and _late(saga):
                    return _count_stall(saga)
                return _next(saga)
        except _StepRaised as raised:
            return _record_raised(raised)
    except WEATHER:
        raise
    except Exception as error:
        if saga is None:
            raise
        return _set_aside(saga.id, error)


def _next(saga: LoadedSaga) -> Moved | Call:
    """Inside the transaction that holds the saga's row: close what is over, then run what may run."""
    plan = saga.plan
    if plan is None:
        return _suspend(saga, SuspendReason.DEFINITION_MISMATCH, "the code here has no plan that continues it")
    after, closed = machine.lease_over(plan, saga.state, saga.now, random.random)
    if closed:
        return _close_leases(saga, after, closed)
    saga = _with_locks(saga, plan)
    state = machine.advance(plan, saga.state, saga.now)
    task = machine.next_task(plan, state, saga.now)
    if task is None or state.backward is not saga.state.backward:
        failpoints.enter("advance")
        return _store(saga, state, why=state.failure["message"] if state.failure else "")
    step = plan.steps[task.position]
    return _begin(saga, step, task) if step.is_remote(task.side) else _run(saga, step, task)


def _with_locks(saga: LoadedSaga, plan: Plan) -> LoadedSaga:
    """The saga with the locks that it was in line for, if it can have them now."""
    if not machine.is_in_line(saga.state):
        return saga
    blocked_on = locks.take_or_wait(plan, saga.data, saga.id, saga.state)
    return replace(saga, state=replace(saga.state, blocked_on=blocked_on))


# --- a local step: one commit -------------------------------------------------------------------


def _run(saga: LoadedSaga, step: PlannedStep, task: Task) -> Moved:
    function = step.function(task.side)
    assert function is not None
    started = monotonic()
    try:
        failpoints.enter("step", step.name, task.side)
        extra = (signals.take(saga, step),) if step.awaits and task.side is Side.ACTION else arguments(saga, task)
        receipt = to_json(function(context(saga, task), *extra))
        if monotonic() - started > step.spec.timeout.total_seconds():
            raise Transient(f"{step.name} took longer than its time-out of {step.spec.timeout.total_seconds():g} s")
    except Exception as error:
        raise _StepRaised(saga, task, _rolled_back(error)) from error
    return _finish(saga, task, Outcome(OutcomeKind.DONE, receipt=receipt))


def _rolled_back(error: Exception) -> Outcome:
    """What was rolled back had no effect. A lost connection or a deadlock is the weather."""
    outcome = outcome_of(error, called=False)
    if isinstance(error, WEATHER) or _session_ended(error):
        return replace(outcome, kind=OutcomeKind.TRANSIENT, code="database")
    return outcome


def _record_raised(raised: _StepRaised) -> Moved | None:
    """The commit for what a rolled-back step leaves behind: the attempt, and where it leads."""
    with _commit():
        failpoints.enter("failure")
        saga = store.take_up(raised.saga.id)
        if saga is None or saga.plan is None or saga.version != raised.saga.version:
            return None
        step = saga.plan.steps[raised.task.position]
        if step.awaits and raised.task.side is Side.ACTION and raised.outcome.kind is OutcomeKind.REFUSED:
            # A no is what came of the signal; after an accident the next attempt uses it again.
            signals.take(saga, step)
        # Locks that it came to in the commit which was rolled back are its own in this one.
        return _finish(_with_locks(saga, saga.plan), raised.task, raised.outcome)


def _finish(saga: LoadedSaga, task: Task, outcome: Outcome) -> Moved:
    """Write an attempt that starts and ends in this commit."""
    assert saga.plan is not None
    after = machine.finish(saga.plan, saga.state, task.position, task.side, outcome, saga.now, random.random)
    number = after.steps[task.position].attempts(task.side)
    return _store(saga, after, attempt_row(saga, task, number, after.generation, outcome), why=outcome.message)


# --- a remote step: two commits round the call ----------------------------------------------------


def _begin(saga: LoadedSaga, step: PlannedStep, task: Task) -> Call:
    """The commit before the call: the intent, its key, its lease and its fencing token."""
    function = step.function(task.side)
    assert isinstance(function, Remote)
    assert saga.plan is not None
    try:
        failpoints.enter("begin", step.name, task.side)
        ctx, extra = context(saga, task), arguments(saga, task)
        request = function.prepare(ctx, *extra) if function.prepare else next(iter(extra), None)
    except Exception as error:
        raise _StepRaised(saga, task, _rolled_back(error)) from error
    lease = lease_of(step, task)
    after = machine.begin(saga.plan, saga.state, task, saga.now, lease)
    number = after.steps[task.position].attempts(task.side)
    store.write(saga, after, attempt_row(saga, task, number, after.generation))
    return Call(saga.id, step, task, after.generation, lease, ctx, request, due=_is_due(saga, after))


def record(call: Call, outcome: Outcome) -> Moved | None:
    """The commit after the call: what came of it. None when the attempt is no longer the current one.

    A second call changes nothing, so repeat it after `WEATHER`.
    """
    try:
        try:
            with _commit():
                return _record(call, outcome, hooks=True)
        except _StepRaised as raised:
            # The call was made, but its result could not be written down: nobody knows, so ask again.
            in_doubt = replace(raised.outcome, kind=OutcomeKind.BUG, definite=False)
            with _commit():
                return _record(call, in_doubt, hooks=False)
    except WEATHER:
        raise
    except Exception as error:
        return _set_aside(call.saga_id, error)


def _record(call: Call, outcome: Outcome, *, hooks: bool) -> Moved | None:
    failpoints.enter("record", call.step.name, call.task.side)
    saga = store.take_up(call.saga_id)
    position, side = call.task.position, call.task.side
    if saga is None or saga.plan is None or saga.state.steps[position].token != call.token:
        logger.warning("a late outcome of %s missed saga %s: %s", call.step.name, call.saga_id, outcome.kind)
        return None
    if hooks:
        try:
            _run_hook(call, outcome)
        except WEATHER:
            raise
        except Exception as error:
            raise _StepRaised(saga, call.task, outcome_of(error, called=True)) from error
    row = attempt_row(saga, call.task, saga.state.steps[position].attempts(side), call.token, outcome)
    after = machine.finish(saga.plan, saga.state, position, side, outcome, saga.now, random.random)
    return _store(saga, after, row, why=outcome.message)


def _run_hook(call: Call, outcome: Outcome) -> None:
    function = call.step.function(call.task.side)
    assert isinstance(function, Remote)
    if outcome.kind is OutcomeKind.DONE and function.record is not None:
        function.record(call.ctx, from_json(result_type(function), outcome.receipt))
    elif outcome.kind is OutcomeKind.REFUSED and function.refused is not None:
        function.refused(call.ctx, outcome.error)


def _close_leases(saga: LoadedSaga, after: SagaState, closed: list[Task]) -> Moved:
    """Record every attempt whose worker did not come back in time: its outcome is unknown."""
    failpoints.enter("lease-over")
    outcome, steps = machine.LEASE_IS_OVER, saga.state.steps
    rows = [
        attempt_row(saga, task, steps[task.position].attempts(task.side), steps[task.position].token, outcome)
        for task in closed
    ]
    return _store(saga, after, *rows, why=outcome.message)


# --- sagas that cannot go on as they are ----------------------------------------------------------


def _late(saga: LoadedSaga) -> bool:
    wake_at = saga.state.wake_at
    return wake_at is not None and (saga.stalls > 0 or wake_at < saga.now - LATE)


def _count_stall(saga: LoadedSaga) -> Moved:
    """Count that a saga is taken up late before anything runs for it: what kills a worker reports nothing.

    The count is cleared by the next progress. While it grows the saga steps back, so that it
    does not take one worker after the other away from the rest.
    """
    if saga.stalls >= MAX_STALLS:
        why = f"taken up {saga.stalls} times without an outcome; its step may be killing the worker"
        return _suspend(saga, SuspendReason.RETRIES_EXHAUSTED, why)
    store.count_stall(saga, saga.now + timedelta(seconds=2**saga.stalls))
    return Moved(saga.id, due=True)


def _set_aside(saga_id: UUID, error: Exception) -> Moved | None:
    """One bad saga never stops the others: what the rows refuse, such as a constraint, waits for a person."""
    logger.exception("saga %s cannot go on", saga_id, exc_info=error)
    with _commit():
        saga = store.lock(saga_id)
        if saga is None or saga.state.terminal:
            return None
        return _suspend(saga, SuspendReason.CONTRACT_VIOLATION, words_of(error))


def _suspend(saga: LoadedSaga, reason: SuspendReason, why: str) -> Moved:
    failpoints.enter("suspend")
    state = replace(
        saga.state,
        status=SagaStatus.SUSPENDED,
        suspend_reason=reason,
        attention=why,
        wake_at=None,
        waiting_on=None,
    )
    return _store(saga, state, why=why)


def _store(saga: LoadedSaga, after: SagaState, *rows: Any, why: str) -> Moved:
    if after != saga.state:
        store.write(saga, after, *rows, why=why)
    elif _is_due(saga, after):
        raise AssertionError("it is due, but nothing of it can start")
    return Moved(saga.id, due=_is_due(saga, after))


def _is_due(saga: LoadedSaga, after: SagaState) -> bool:
    return after.wake_at is not None and after.wake_at <= saga.now
