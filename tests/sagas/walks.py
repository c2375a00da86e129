"""Random walks over a plan: what a machine, the weather and people may do to a saga.

A walk does with the pure machine what the engine does with rows: it closes leases, starts what may
start, ends what is under way. After each move it checks the rules.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from sagas import interventions, machine
from sagas.definition import seconds
from sagas.machine import NotAllowed
from sagas.outcomes import Outcome
from sagas.plan import Plan
from sagas.snapshot import SagaState, Task, changes, new_saga
from sagas.states import ActionStatus, CompensationStatus, SagaStatus, Side, SuspendReason
from sagas.testing import bug, done, refused, transient, unknown
from tests.sagas.rules import check_history, check_start, check_state

START = datetime(2020, 1, 1, tzinfo=UTC)
LEASE = timedelta(seconds=30)

DONE = [done()] * 3
LOCAL = [*DONE, refused(), transient(), bug()]
REMOTE = [*DONE, refused(), transient("busy", seconds(90)), unknown(), bug(definite=False)]
# What a `prepare` that raises leaves behind: the call was not made.
UNPREPARED = [refused(), transient(), bug()]


class Walk:
    """One saga on its way. Each method is one commit of the engine, or of a person's."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.now = plan, START
        self.saga = new_saga(plan, START)
        self.reached: set[object] = {(SagaStatus, self.saga.status)}

    def work(self, choose: Callable[[list[Outcome]], Outcome], *, unprepared: bool = False) -> None:
        """What `engine.work` does for a saga at hand."""
        before = self.saga
        self._work(choose, unprepared)
        due = before.wake_at is not None and before.wake_at <= self.now
        assert self.saga != before or not due, "what is due gets on: no hot loop"
        assert self.saga == before or due or before.wake_at is None, "nobody forgets what can go on"

    def _work(self, choose: Callable[[list[Outcome]], Outcome], unprepared: bool) -> None:
        after, closed = machine.lease_over(self.plan, self.saga, self.now, lambda: 1.0)
        if closed:
            return self._move(after)
        saga = machine.advance(self.plan, self.saga, self.now)
        task = machine.next_task(self.plan, saga, self.now)
        if task is None or saga.backward is not self.saga.backward:
            return self._move(saga)
        check_start(self.plan, saga, task)
        if not self.plan.steps[task.position].is_remote(task.side):
            return self._end(task, choose(LOCAL))
        if unprepared:
            was = self.saga.steps[task.position].action
            self._end(task, choose(UNPREPARED))
            now = self.saga.steps[task.position].action
            assert was is not ActionStatus.UNKNOWN or now is was, "no call was made, so nothing is known now"
            return None
        return self._move(machine.begin(self.plan, self.saga, task, self.now, LEASE))

    def attempt(self, outcome: Outcome) -> None:
        """One attempt from its start to its end, with this outcome."""
        self.work(lambda outcomes: outcome)
        for task in self.under_way():
            self.answer(task, outcome)

    def under_way(self) -> list[Task]:
        return [
            Task(at, Side.COMPENSATION if s.compensation is CompensationStatus.RUNNING else Side.ACTION)
            for at, s in enumerate(self.saga.steps)
            if s.in_flight
        ]

    def answer(self, task: Task, outcome: Outcome) -> None:
        """What `engine.record` does when a call is back."""
        self._end(task, outcome)

    def get_lock(self) -> None:
        """What `engine.work` does first for a saga in line whose lock is free."""
        if machine.is_in_line(self.saga) and self.saga.status is not SagaStatus.SUSPENDED:
            self._move(machine.advance(self.plan, replace(self.saga, blocked_on=""), self.now))

    def wait(self, pause: timedelta) -> None:
        self.now += pause

    def wait_until_due(self) -> None:
        if self.saga.wake_at is not None:
            self.now = max(self.now, self.saga.wake_at)

    def ask(self, transition: Callable[..., SagaState], *args: Any, **words: Any) -> bool:
        """A person's wish. Says whether it was allowed; when it was not, nothing has changed."""
        try:
            after = transition(self.plan, self.saga, *args, **words, now=self.now)
        except NotAllowed:
            return False
        self._move(after)
        return True

    def _end(self, task: Task, outcome: Outcome) -> None:
        self._move(machine.finish(self.plan, self.saga, task.position, task.side, outcome, self.now, lambda: 1.0))

    def _move(self, after: SagaState) -> None:
        before, self.saga = self.saga, after
        changes(self.plan, before, after)  # raises on an illegal move
        check_history(before, after)
        check_state(self.plan, after, self.now)
        seen = [after.status, after.suspend_reason]
        seen += [status for step in after.steps for status in (step.action, step.compensation)]
        self.reached |= {(type(status), status) for status in seen}


PEOPLE: list[tuple[Callable[..., SagaState], tuple[str, ...]]] = [
    (machine.turn_back, ("cancelled", "the customer")),
    (interventions.retry, ()),
    (interventions.pause, ()),
    (interventions.resume, ()),
    (interventions.hurry, ()),
    (interventions.release, ("account A",)),
    (interventions.abandon, ()),
]

MOVES = [
    *["work"] * 4,
    *["work unprepared"] * 2,
    *["answer"] * 3,
    "wait",
    "wait",
    "person",
    "person",
    "person",
    "resolve",
    "skip",
    "waive",
    "lock",
]


def hasten(walk: Walk, moves: int) -> None:
    """So many moves forward without an accident, the last one perhaps only begun."""
    for _ in range(moves):
        calls = walk.under_way()
        if calls:
            walk.answer(calls[0], done())
        else:
            walk.work(lambda outcomes: done())


def wander(walk: Walk, data: st.DataObject, moves: int) -> None:
    """Any moves in any order."""
    for _ in range(moves):
        if walk.saga.terminal:
            return
        move = data.draw(st.sampled_from(MOVES))
        calls = walk.under_way()
        if move in ("work", "work unprepared"):
            walk.work(lambda outcomes: data.draw(st.sampled_from(outcomes)), unprepared=move == "work unprepared")
        elif move == "answer" and calls:
            walk.answer(data.draw(st.sampled_from(calls)), data.draw(st.sampled_from(REMOTE)))
        elif move == "wait" and data.draw(st.booleans()):
            walk.wait(data.draw(st.sampled_from([seconds(1), seconds(25), seconds(60)])))
        elif move == "wait":
            walk.wait_until_due()
        elif move == "person":
            transition, words = data.draw(st.sampled_from(PEOPLE))
            walk.ask(transition, *words)
        elif move == "resolve":
            step = data.draw(st.sampled_from(walk.plan.steps))
            walk.ask(interventions.resolve, step, happened=data.draw(st.booleans()), receipt=None)
        elif move == "skip":
            walk.ask(interventions.skip, data.draw(st.sampled_from(walk.plan.steps)), receipt=None)
        elif move == "waive":
            walk.ask(interventions.waive, data.draw(st.sampled_from(walk.plan.steps)))
        elif move == "lock":
            walk.get_lock()


def settle(walk: Walk, moves: int = 400) -> None:
    """The weather clears: every answer is yes, and people do what the states table says."""
    for _ in range(moves):
        if walk.saga.terminal or walk.saga.suspend_reason is SuspendReason.NO_COMPENSATION:
            return
        if walk.saga.status is SagaStatus.SUSPENDED:
            assert walk.ask(interventions.resume) or walk.ask(interventions.retry)
        elif walk.under_way():
            walk.answer(walk.under_way()[0], done())
        elif machine.is_in_line(walk.saga):
            walk.get_lock()
        else:
            walk.wait_until_due()
            walk.work(lambda outcomes: done())
    raise AssertionError(f"does not come to rest: {walk.saga}")
