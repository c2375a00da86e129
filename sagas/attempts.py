"""One attempt: what its step function gets, how it is called, and the row it leaves."""

import hashlib
import os
import secrets
import socket
import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from sagas import failpoints, logs
from sagas.codec import Receipts, from_json, receipt_type, to_json
from sagas.outcomes import CannotTell, DidNotHappen, Happened, Outcome, OutcomeKind, Refused, outcome_of
from sagas.plan import PlannedStep
from sagas.redaction import traceback_of
from sagas.snapshot import Task
from sagas.states import ActionStatus, Side
from sagas.steps import Context, Failure, Remote
from sagas.store import LoadedSaga
from sagas.writing import Attempt

# Who is at work here; the random part tells two processes with one id in two containers apart.
WORKER = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"

# A lease outlives the call it covers by this much, so that an answer in time is never late.
LEASE_MARGIN = timedelta(seconds=10)

# What the column holds; a class made inside functions can have a longer name.
MAX_ERROR_CLASS = 200


@dataclass(frozen=True, slots=True)
class Call:
    """A remote attempt that was recorded and may now be made: on any thread, outside any transaction.

    ``due`` says whether the saga can start something else meanwhile, as in a parallel group.
    """

    saga_id: UUID
    step: PlannedStep
    task: Task
    token: int
    lease: timedelta
    ctx: Context[Any]
    request: Any
    due: bool

    def make(self) -> Outcome:
        """Make the call; of an unknown action ask first what became of it. Never raises, not even SystemExit."""
        with logs.about(self.ctx, self.task.side):
            return self._make()

    def _make(self) -> Outcome:
        function = self.step.function(self.task.side)
        assert isinstance(function, Remote)
        try:
            if self.task.settle and self.step.spec.check is not None:
                with failpoints.outside("call", self.step.name, "check"):
                    answer = self.step.spec.check(self.ctx, self.request)
                if isinstance(answer, Happened):
                    return Outcome(OutcomeKind.DONE, receipt=to_json(answer.receipt))
                if isinstance(answer, DidNotHappen):
                    raise Refused("did_not_happen", answer.reason)
                if not isinstance(answer, CannotTell):
                    raise TypeError(f"the check of {self.step.name} answered {answer!r}")
            with failpoints.outside("call", self.step.name, self.task.side):
                receipt = function(self.ctx, self.request)
            return Outcome(OutcomeKind.DONE, receipt=to_json(receipt))
        except BaseException as error:
            return outcome_of(error, called=True)


def lease_of(step: PlannedStep, task: Task) -> timedelta:
    """How long an attempt may take before its worker is presumed dead: longer than all that it calls."""
    calls = 2 if task.settle and step.spec.check is not None else 1
    return calls * step.spec.timeout + LEASE_MARGIN


def context(saga: LoadedSaga, task: Task) -> Context[Any]:
    """What the step function of a task gets."""
    assert saga.plan is not None
    step = saga.plan.steps[task.position]
    return Context(
        saga_id=str(saga.id),
        key=saga.key,
        data=saga.data,
        step=step.name,
        idempotency_key=idempotency_key(saga, step, task.side),
        attempt=saga.state.steps[task.position].attempts(task.side) + 1,
        timeout=step.spec.timeout,
        receipts=Receipts(saga.plan, saga.state),
        failure=Failure(**saga.state.failure) if saga.state.failure else None,
        definition=saga.definition,
        trace=saga.trace,
    )


def arguments(saga: LoadedSaga, task: Task) -> tuple[Any, ...]:
    """What a step function gets besides its context: a compensation gets its action's receipt, or None."""
    assert saga.plan is not None
    if task.side is Side.ACTION:
        return ()
    state = saga.state.steps[task.position]
    if state.action is not ActionStatus.SUCCEEDED:
        return (None,)
    return (from_json(receipt_type(saga.plan.steps[task.position]), state.receipt),)


def idempotency_key(saga: LoadedSaga, step: PlannedStep, side: Side) -> str:
    """The same over all retries until somebody edits the data, and never the same for two sagas: ids are random."""
    return key_of(saga.id, saga.edits, step.name, side)


def key_of(saga_id: UUID, edits: int, step: str, side: Side) -> str:
    edit = f":edit{edits}" if edits else ""
    return f"{saga_id}:{step}:{side}{edit}"


def attempt_row(saga: LoadedSaga, task: Task, number: int, generation: int, outcome: Outcome | None = None) -> Attempt:
    """The row of an attempt that starts (no outcome yet) or has ended."""
    assert saga.plan is not None
    step = saga.plan.steps[task.position]
    began = Attempt(
        saga=saga.id,
        position=task.position,
        side=task.side,
        number=number,
        step=step.name,
        generation=generation,
        worker=WORKER,
        idempotency_key=idempotency_key(saga, step, task.side),
        started_at=saga.now,
    )
    if outcome is None:
        return began
    ended = replace(began, ended_at=saga.now + outcome.took, outcome=outcome.kind, message=outcome.message)
    if outcome.kind is not OutcomeKind.DONE:
        ended = replace(ended, fingerprint=_fingerprint(step, task.side, outcome))
    if outcome.error is not None:
        error_class = type(outcome.error).__qualname__[:MAX_ERROR_CLASS]
        # A refusal is an answer, not an accident: nobody needs to see where it was raised.
        trace = "" if outcome.kind is OutcomeKind.REFUSED else traceback_of(outcome.error)
        ended = replace(ended, error_class=error_class, traceback=trace)
    return ended


def _fingerprint(step: PlannedStep, side: Side, outcome: Outcome) -> str:
    """The same for failures that look the same: step, side, class, code and the place that raised."""
    raised = list(traceback.walk_tb(outcome.error.__traceback__)) if outcome.error else []
    place = raised[-1][0].f_code.co_name if raised else ""
    parts = (step.name, side, type(outcome.error).__qualname__, outcome.code, place)
    return hashlib.blake2b("|".join(parts).encode(), digest_size=8).hexdigest()
