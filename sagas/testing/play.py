"""Tools for those who write sagas.

`play` runs the real plan on the real machine in memory: no database, no queue, no clock. What each
step answers is scripted, and the trace is the assertion.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from sagas import machine
from sagas.definition import Saga
from sagas.outcomes import Outcome, OutcomeKind
from sagas.plan import Plan
from sagas.snapshot import SagaState, Task, changes, new_saga
from sagas.steps import StepFunction, name_of

_START = datetime(2020, 1, 1, tzinfo=UTC)
# A plan that is still moving after this many attempts does not end.
_MOST_ATTEMPTS = 10_000

Script = Mapping[StepFunction, Outcome | Iterable[Outcome]]


def done(receipt: Any = None) -> Outcome:
    """The step did what it should."""
    return Outcome(OutcomeKind.DONE, receipt=receipt)


def refused(code: str = "refused", message: str = "no") -> Outcome:
    """A business no."""
    return Outcome(OutcomeKind.REFUSED, code=code, message=message)


def transient(message: str = "not now", retry_after: timedelta | None = None) -> Outcome:
    """Definitely no effect, worth another try."""
    return Outcome(OutcomeKind.TRANSIENT, code="transient", message=message, retry_after=retry_after)


def unknown(message: str = "no answer") -> Outcome:
    """A call that may have happened."""
    return Outcome(OutcomeKind.UNKNOWN, code="unknown", message=message, definite=False)


def bug(message: str = "KeyError: 'x'", *, definite: bool = True) -> Outcome:
    """An exception that nobody foresaw; ``definite=False`` after a call was made."""
    return Outcome(OutcomeKind.BUG, code="bug", message=message, definite=definite)


def lease_over() -> Outcome:
    """The worker died during the call."""
    return machine.LEASE_IS_OVER


def always(outcome: Outcome) -> Iterator[Outcome]:
    """The same answer every time."""
    while True:
        yield outcome


@dataclass
class Played:
    """What a play came to: the final state, and every attempt in order as ``"name outcome"``."""

    plan: Plan
    state: SagaState
    now: datetime
    trace: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        return str(self.state.status)

    def action(self, function: StepFunction) -> str:
        return str(self.state.steps[self.plan.step(name_of(function)).position].action)

    def compensation(self, function: StepFunction) -> str:
        """The status of the compensation of the step whose action is ``function``."""
        return str(self.state.steps[self.plan.step(name_of(function)).position].compensation)


def play(
    saga: type[Saga[Any]],
    script: Script | None = None,
    *,
    signals: Iterable[StepFunction] = (),
    turn_back_after: int | None = None,
) -> Played:
    """Run a plan to its rest: its end, or a suspension. Steps that the script does not name are done.

    The script maps a step function (an action or a compensation) to its outcome or outcomes, one
    an attempt; after the last one it is done. Of a parallel group all members start before the
    first one ends, as they do with remote calls. ``turn_back_after`` cancels after so many attempts.
    The ``signals`` have come before it starts; a wait for another one lasts to its end, or for ever.
    Raises `AssertionError` if the plan does not come to rest.
    """
    plan = saga.plan
    state = replace(new_saga(plan, _START), signals=frozenset(name_of(signal) for signal in signals))
    played = Played(plan, state, _START)
    answers = {name_of(f): iter([o] if isinstance(o, Outcome) else o) for f, o in (script or {}).items()}
    under_way: list[Task] = []
    for _ in range(_MOST_ATTEMPTS):
        if turn_back_after is not None and len(played.trace) >= turn_back_after:
            turn_back_after = None
            if not machine.why_not_turn_back(plan, played.state):
                _move(played, machine.turn_back(plan, played.state, "cancelled", "the customer", played.now))
        task = machine.next_task(plan, played.state, played.now)
        if task is not None and plan.steps[task.position].is_remote(task.side):
            _move(played, machine.begin(plan, played.state, task, played.now, timedelta(hours=1)))
            under_way.append(task)
        elif task is not None:
            _end(played, task, answers)
        elif under_way:
            _end(played, under_way.pop(0), answers)
        elif played.state.wake_at is None:
            return played
        else:
            played.now = max(played.now, played.state.wake_at)
            _move(played, machine.advance(plan, played.state, played.now))
    raise AssertionError(f"{plan.name} does not come to rest; it is {played.state.status} after {played.trace[-5:]}")


def _end(played: Played, task: Task, answers: dict[str, Iterator[Outcome]]) -> None:
    function = played.plan.steps[task.position].function(task.side)
    assert function is not None
    name = name_of(function)
    outcome = next(answers.get(name, iter(())), done())
    played.trace.append(f"{name} {outcome.kind.lower()}")
    _move(
        played,
        machine.finish(played.plan, played.state, task.position, task.side, outcome, played.now, lambda: 1.0),
    )


def _move(played: Played, after: SagaState) -> None:
    changes(played.plan, played.state, after)
    played.state = after
