"""Random sagas on PostgreSQL: whatever workers, weather and people do, in whatever order, the rules hold.

As `test_walks`, with the real engine and its rows. Two sagas of a random plan want the same lock; the
outside keeps books of its own. HYPOTHESIS_EXAMPLES sets how many plans are tried.
"""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagas import failpoints, operations, store, turns
from sagas.attempts import Call
from sagas.audit import audit
from sagas.definition import Lock, registry
from sagas.engine import WEATHER, Moved, record, record_together, work, work_together
from sagas.exceptions import OperationRefused
from sagas.models import SagaInstance
from sagas.operations import Request
from sagas.outcomes import Outcome, Refused, Transient, Unknown
from sagas.plan import Plan, PlannedStep
from sagas.services import OnConflict, start, turn_back
from sagas.states import ActionStatus, CompensationStatus, SagaStatus, Side
from sagas.steps import NoCompensation
from tests.sagas.plans import World
from tests.sagas.random_plans import Data, plans

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "200"))
MOVES = 30

LOCK = Lock("test.account", lambda data: "A")

# How a step function ends. What is lost was done all the same; only the outside can lose an answer.
ENDS = ["done"] * 4 + ["refused", "transient", "bug", "lost", "not done"]


class Outside:
    """The scripted world of one example: how the next step function ends, and what was done outside."""

    def __init__(self) -> None:
        self.draw: Callable[[], str] = lambda: "done"
        self.done: set[str] = set()
        self.refused: set[str] = set()

    def act(self, ctx: Any, name: str) -> None:
        if connection.in_atomic_block:
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO test_effect (key, what) VALUES (%s, %s)", [ctx.key, name])
            self.end(self.draw())
            return
        # Whoever asks again with the same key gets the same answer.
        key = ctx.idempotency_key
        end = "done" if key in self.done else "refused" if key in self.refused else self.draw()
        if end in ("done", "lost"):
            self.done.add(key)
        if end == "refused":
            self.refused.add(key)
        self.end(end)

    def may_say_yes(self, saga_id: UUID) -> None:
        """What it refused of a saga it decides anew."""
        self.refused = {key for key in self.refused if not key.startswith(str(saga_id))}

    def end(self, how: str) -> None:
        if how == "refused":
            raise Refused("refused", "no")
        if how == "transient":
            raise Transient("busy")
        if how == "bug":
            raise ZeroDivisionError("a bug")
        if how in ("lost", "not done") and not connection.in_atomic_block:
            raise Unknown("timed out")


outside = Outside()


def acting(name: str, takes: int) -> Callable[..., Any]:
    """A step function that acts on the world of the example."""

    def action(ctx: Any) -> None:
        outside.act(ctx, name)

    def given_something(ctx: Any, given: Any) -> None:
        outside.act(ctx, name)

    function: Callable[..., Any] = action if takes == 1 else given_something
    function.__name__ = name
    return function


class Play:
    """Two sagas of one plan, their calls under way, and calls whose worker was given up."""

    def __init__(self, plan: Plan, draw: Callable[[Any], Any], operator: User) -> None:
        self.plan, self.draw, self.operator = plan, draw, operator
        self.calls: list[Call] = []
        self.given_up: list[tuple[Call, Outcome]] = []
        self.reached: Counter[str] = Counter()
        self.saga_type: Any = SimpleNamespace(plan=plan)
        with transaction.atomic():
            self.sagas = [
                start(self.saga_type, Data(), key=key, on_conflict=OnConflict.WAIT).pk for key in ("one", "two")
            ]

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def move(self) -> None:
        name = self.pick(*MOVES_BY_NAME)
        MOVES_BY_NAME[name](self)
        self.note()

    def keep(self, found: Any) -> None:
        for done in found if isinstance(found, list) else [found]:
            if isinstance(done, Call):
                self.calls.append(done)

    # --- workers and weather

    def work_alone(self) -> None:
        self.keep(work(self.pick(None, *self.sagas)))

    def work_shared(self) -> None:
        found = work_together(2)
        self.keep(found)
        at_hand = [done.saga for done in found if isinstance(done, Moved) and done.due and done.saga is not None]
        if at_hand and self.draw(st.booleans()):
            self.keep(work_together(2, at_hand))

    def work_in_bad_weather(self) -> None:
        """The commit fails, or it happened and nobody is told."""
        side = self.pick(":before-commit", ":after-commit")

        def lose(name: str) -> None:
            if name.endswith(side):
                raise OperationalError("server closed the connection unexpectedly")

        with failpoints.listening(lose), suppress(*WEATHER):
            self.keep(work(self.pick(None, *self.sagas)))
        connection.close()

    def answer(self) -> None:
        if self.calls:
            call = self.calls.pop(self.draw(st.integers(0, len(self.calls) - 1)))
            outcome = call.make()
            record(call, outcome)
            if self.draw(st.booleans()):
                assert record(call, outcome) is None, "a second time it changes nothing"

    def answer_all(self) -> None:
        answers = {call.saga_id: (call, call.make()) for call in self.calls}
        self.calls = [call for call in self.calls if call is not answers[call.saga_id][0]]
        _, left = record_together(list(answers.values()))
        assert left == []

    def give_up_a_worker(self) -> None:
        """It made its call, and is not heard of until its lease is over, or for ever."""
        if self.calls:
            call = self.calls.pop()
            self.given_up.append((call, call.make()))

    def give_up_on(self, saga_id: UUID, step: str) -> None:
        """As `give_up_a_worker`, for those who call for one step."""
        calls, self.calls = self.calls, []
        for call in calls:
            if (call.saga_id, call.step.name) == (saga_id, step):
                self.given_up.append((call, call.make()))
            else:
                self.calls.append(call)

    def wake_a_zombie(self) -> None:
        if self.given_up:
            call, outcome = self.given_up.pop(0)
            record(call, outcome)

    def let_time_pass(self) -> None:
        """Up to the next thing that is due, at most: lateness is another test's matter.

        What is due within the same second is due with it, however fast the machine is: hypothesis plays again.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT min(wake_at) - clock_timestamp() + interval '700 ms' FROM sagas_sagainstance"
                " WHERE wake_at > clock_timestamp()"
            )
            (pause,) = cursor.fetchone()
            if pause is None:
                return
            cursor.execute(
                "UPDATE sagas_sagainstance SET wake_at = CASE WHEN wake_at > clock_timestamp()"
                " THEN wake_at - %(pause)s::interval ELSE wake_at END, deadline_at = deadline_at - %(pause)s::interval,"
                " blocked_until = blocked_until - %(pause)s::interval",
                {"pause": pause},
            )
            cursor.execute("UPDATE sagas_sagastep SET due_at = due_at - %s::interval", [pause])

    # --- people

    def cancel(self) -> None:
        turn_back(self.saga_type, self.pick("one", "two"), why="cancelled")

    def operate(self) -> None:
        """Any operation, where somebody may do it."""
        name, saga_ids = self.pick(*OPERATIONS), self.pick(self.sagas, self.sagas[::-1])
        any(self.ask(name, saga_id) for saga_id in saga_ids)

    def ask(self, name: str, saga_id: UUID) -> bool:
        """Says whether it was allowed; of a step, whether it was of any."""
        if name == "release":
            return self.request(name, saga_id, lock="test.account A")
        if name not in ("resolve", "skip", "waive"):
            return self.request(name, saga_id)
        return any(self.request(name, saga_id, step=step.name) for step in self.plan.steps)

    def request(self, name: str, saga_id: UUID, **words: Any) -> bool:
        version = SagaInstance.objects.values_list("version", flat=True).get(pk=saga_id)
        if name == "resolve":
            # A person who looks at the other side's books when nothing can come in there any more.
            self.give_up_on(saga_id, words["step"])
            words["happened"] = f"{saga_id}:{words['step']}:action" in outside.done
        try:
            getattr(operations, name)(saga_id, Request(uuid4(), self.operator, "to see", version), **words)
        except OperationRefused:
            return False
        if name == "retry":
            outside.may_say_yes(saga_id)
        self.reached[f"operation {name}"] += 1
        return True

    # --- what has to hold

    def note(self) -> None:
        """Where they are: at the end everything has to have been reached."""
        for saga_id in self.sagas:
            saga = store.read(saga_id)
            assert saga is not None
            self.reached[saga.state.status] += 1
            self.reached.update(step.action for step in saga.state.steps)
            self.reached.update(f"undo {step.compensation}" for step in saga.state.steps)
            if saga.state.suspend_reason:
                self.reached[saga.state.suspend_reason] += 1

    def settle(self) -> None:
        """The weather clears, answers come, and people do what is to be done."""
        outside.draw = lambda: "done"
        for _ in range(300):
            self.answer()
            while (found := work()) is not None:
                self.keep(found)
            self.wake_a_zombie()
            for saga_id in self.sagas:
                if SagaInstance.objects.get(pk=saga_id).status == SagaStatus.SUSPENDED:
                    last = self.pick(["waive", "abandon"], ["abandon"])
                    assert any(self.ask(name, saga_id) for name in ("resume", "retry", *last))
            if not SagaInstance.objects.filter(ended_at=None).exists():
                return
            self.let_time_pass()
        raise AssertionError(list(SagaInstance.objects.values_list("status", "waiting_on")))

    def check_the_end(self) -> None:
        assert audit().violations == ()
        for saga_id in self.sagas:
            saga = store.read(saga_id)
            assert saga is not None
            for step in self.plan.steps:
                state = saga.state.steps[step.position]
                acted, undone = self.happened(saga, step, Side.ACTION), self.happened(saga, step, Side.COMPENSATION)
                if state.compensation is CompensationStatus.SUCCEEDED:
                    assert undone, step.name
                elif undone:
                    # Whoever gives a saga up may do so before anybody hears of what was undone.
                    assert saga.state.status is SagaStatus.ABANDONED, (step.name, state)
                    assert state.compensation_attempts, (step.name, state)
                if step.begins:
                    continue
                if state.action is ActionStatus.SUCCEEDED:
                    assert acted, step.name
                if saga.state.status is SagaStatus.COMPENSATED and acted and _has_to_be_undone(step):
                    assert undone or state.compensation is CompensationStatus.WAIVED, step.name

    def happened(self, saga: store.LoadedSaga, step: PlannedStep, side: Side) -> bool:
        if step.is_remote(side):
            return f"{saga.id}:{step.name}:{side}" in outside.done
        name = step.name if side is Side.ACTION else f"undo_{step.name}"
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM test_effect WHERE key = %s AND what = %s", [saga.key, name])
            return bool(cursor.fetchone()[0])


def _has_to_be_undone(step: PlannedStep) -> bool:
    return not step.spec.reads_only and step.spec.no_compensation is not NoCompensation.ACCEPT


OPERATIONS = ["retry", "compensate", "pause", "resume", "resolve", "skip", "waive", "release", "abandon"]

MOVES_BY_NAME: dict[str, Callable[[Play], None]] = {
    "work": Play.work_alone,
    "work again": Play.work_alone,
    "work together": Play.work_shared,
    "bad weather": Play.work_in_bad_weather,
    "answer": Play.answer,
    "all answers": Play.answer_all,
    "give up": Play.give_up_a_worker,
    "zombie": Play.wake_a_zombie,
    "time": Play.let_time_pass,
    "more time": Play.let_time_pass,
    "cancel": Play.cancel,
    "person": Play.operate,
    "another person": Play.operate,
}

EVERYTHING = {
    *(status for status in SagaStatus),
    *(status for status in ActionStatus if status is not ActionStatus.PENDING),
    *(f"undo {status}" for status in CompensationStatus),
    *(f"operation {name}" for name in OPERATIONS),
}

# What so many plans may miss by chance; `test_walks`, where a move costs nothing, reaches all of it.
RARE = {
    ActionStatus.SKIPPED,
    f"undo {CompensationStatus.WAIVED}",
    *(f"operation {name}" for name in ("skip", "waive", "resolve", "release")),
}


@pytest.fixture
def forget() -> Any:
    def everything() -> None:
        with connection.cursor() as cursor:
            for table in ("operation", "lockwaiter", "semanticlock", "sagaevent", "stepattempt", "sagastep"):
                cursor.execute(f"DELETE FROM sagas_{table}")
            cursor.execute("DELETE FROM sagas_sagainstance")
            cursor.execute("DELETE FROM test_effect")

    before = dict(registry)
    yield everything
    registry.clear()
    registry.update(before)


def test_whatever_happens_to_sagas_the_rules_hold_and_they_come_to_rest(
    world: World, operator: User, forget: Any, monkeypatch: pytest.MonkeyPatch
):
    global outside
    # A pause that is over by itself would be so on some machines only.
    monkeypatch.setattr(turns, "random", SimpleNamespace(random=lambda: 1.0))
    reached: Counter[str] = Counter()
    operator = User.objects.create_superuser("root")

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(plan=plans(acting, (LOCK,)), data=st.data())
    def any_play(plan: Plan, data: st.DataObject) -> None:
        forget()
        registry[plan.name, plan.version] = plan
        outside.__init__()  # type: ignore[misc]
        outside.draw = lambda: data.draw(st.sampled_from(ENDS))
        play = Play(plan, data.draw, operator)
        looking_at = data.draw(st.integers(0, MOVES - 1))
        for number in range(MOVES):
            play.move()
            if number == looking_at:
                assert audit().violations == ()
        play.settle()
        play.check_the_end()
        reached.update(play.reached)

    any_play()

    assert {str(what) for what in EVERYTHING - RARE} - {str(what) for what in reached} == set()
