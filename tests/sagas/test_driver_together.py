"""A driver with many sagas at hand: how many calls it makes, who waits for whom, and what it leaves when it stops."""

from collections import Counter
from collections.abc import Callable, Iterator
from time import sleep

import pytest
from django.db import OperationalError

from sagas import driver, engine
from sagas.definition import Parallel, RemoteStep, Step, remote
from sagas.driver import Driver, drain_due
from sagas.engine import Moved, work_together
from sagas.models import SagaStep, StepAttempt
from tests.sagas import plans
from tests.sagas.plans import World, effect, effects
from tests.sagas.rows import outcomes
from tests.sagas.together import NOTE, begin_all, execute, loaded, note, statuses_of, told

MANY = tuple(f"T{number:02}" for number in range(12))


@remote(record=lambda ctx, receipt: note(ctx))
def call_out(ctx, request) -> None:
    """Count it, under a name of its own, and play what is scripted for it."""
    plans.world.before(f"call {ctx.key}")


CALL = RemoteStep(call_out, reads_only=True)


def cut_the_connection() -> None:
    execute("SELECT pg_terminate_backend(pg_backend_pid())")


# --- answers --------------------------------------------------------------------------------------------


@pytest.fixture
def again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "RECORD_AGAIN", 0.01)


def all_called_and_answered_once(world: World) -> bool:
    return all(world.calls[f"call {key}"] == 1 and effects(key) == ["noted"] for key in MANY)


@pytest.mark.parametrize("unlucky", [("T00",), ("T05", "T06"), ("T11",)])
def test_no_answer_is_lost_or_used_twice_when_the_database_goes_away_in_the_middle(
    world: World, define, again_soon: None, unlucky: tuple[str, ...]
):
    sagas = begin_all(define(CALL), *MANY)
    for key in unlucky:
        world.does(key, cut_the_connection)

    drain_due()

    assert statuses_of(*sagas) == ["COMPLETED"] * 12
    assert all_called_and_answered_once(world)
    assert set(StepAttempt.objects.values_list("outcome", flat=True)) == {"DONE"}
    assert sorted(told()) == sorted(MANY)


def test_a_driver_whose_time_is_up_writes_down_what_it_could_not_write_at_first(
    world: World, define, again_soon: None, monkeypatch
):
    sagas = begin_all(define(CALL), *MANY)
    for key in MANY:
        world.does(f"call {key}", lambda: sleep(0.1))
    weather = [OperationalError("the server closed the connection")]

    def away_once(call, outcome):
        if weather:
            raise weather.pop()
        return engine.record(call, outcome)

    monkeypatch.setattr(driver, "record_together", lambda answers: ([], list(answers)))
    monkeypatch.setattr(driver, "record", away_once)

    monkeypatch.setattr(Driver, "_wait_for_answer", lambda _: sleep(2.5))

    drain_due(2)

    assert weather == []
    assert statuses_of(*sagas) == ["COMPLETED"] * 12
    assert all_called_and_answered_once(world)


def test_an_answer_whose_commit_happened_unnoticed_is_not_used_again(world: World, define, monkeypatch):
    sagas = begin_all(define(CALL, Step(after, reads_only=True)), *MANY)
    shared = []

    def written_but_not_heard_of(answers):
        shared.append(len(answers))
        engine.record_together(answers)
        return [], list(answers)

    monkeypatch.setattr(driver, "record_together", written_but_not_heard_of)

    drain_due()

    assert statuses_of(*sagas) == ["COMPLETED"] * 12
    assert max(shared) > 1
    assert [effects(key) for key in MANY] == [["after", "noted"]] * 12
    assert Counter(StepAttempt.objects.values_list("step", "outcome")) == {
        ("call_out", "DONE"): 12,
        ("after", "DONE"): 12,
    }


def after(ctx) -> None:
    effect(ctx, "after")


def test_answers_of_one_saga_that_come_at_once_are_written_down_one_after_the_other(world: World, define):
    @remote(record=lambda ctx, receipt: effect(ctx, "left"))
    def left(ctx, request) -> None: ...

    @remote(record=lambda ctx, receipt: effect(ctx, "right"))
    def right(ctx, request) -> None: ...

    plan = define(Parallel(RemoteStep(left, reads_only=True), RemoteStep(right, reads_only=True)), NOTE)
    sagas = begin_all(plan, *MANY)

    drain_due()

    assert statuses_of(*sagas) == ["COMPLETED"] * 12
    assert [effects(key) for key in MANY] == [["left", "noted", "right"]] * 12
    assert set(StepAttempt.objects.values_list("outcome", flat=True)) == {"DONE"}


# --- calls ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", ["one call", "two at once"])
def test_there_are_never_more_calls_under_way_than_allowed(world: World, define, settings, steps: str):
    settings.SAGAS_CALLS_IN_FLIGHT = 3
    under_way = []

    def look() -> None:
        under_way.append(SagaStep.objects.filter(token__gt=0).count())
        sleep(0.005)

    @remote()
    def one(ctx, request) -> None:
        look()

    @remote()
    def two(ctx, request) -> None:
        look()

    calls = [RemoteStep(one, reads_only=True), RemoteStep(two, reads_only=True)]
    plan = define(NOTE, calls[0], calls[1]) if steps == "one call" else define(NOTE, Parallel(*calls))
    sagas = begin_all(plan, *MANY)

    drain_due()

    assert statuses_of(*sagas) == ["COMPLETED"] * 12
    assert len(under_way) == 24
    assert max(under_way) == 3, "as many as allowed, and no more"


# --- events ---------------------------------------------------------------------------------------------


def test_sagas_go_on_where_events_cannot_be_carried(world: World, define, monkeypatch, caplog):
    def broken() -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(driver, "carry", broken)
    monkeypatch.setattr(driver, "EVENTS_EVERY", 0.0)
    sagas = begin_all(define(CALL), *MANY)

    drain_due()

    assert statuses_of(*sagas) == ["COMPLETED"] * 12
    assert all(world.calls[f"call {key}"] == 1 for key in MANY)
    assert "RuntimeError: a bug" in caplog.text


# --- slow steps -----------------------------------------------------------------------------------------


@pytest.fixture
def dawdle(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Takes longer than a commit is shared, on a clock on which nothing else takes any time."""
    spent = [0.0]
    monkeypatch.setattr(engine, "monotonic", lambda: spent[0])

    def dawdle() -> None:
        spent[0] += 1.2 * engine.SHARED_SECONDS

    return dawdle


def test_who_waits_too_long_for_a_step_of_a_shared_commit_has_its_turn_in_the_next_one(world: World, define, dawdle):
    sagas = begin_all(define(NOTE, Step(after, reads_only=True)), "slow", "T1", "T2")
    world.does("slow", dawdle)

    done = [moved for moved in work_together(3) if isinstance(moved, Moved)]

    assert [(moved.saga_id, moved.due) for moved in done] == [(sagas[n].pk, True) for n in (1, 2, 0)]
    assert statuses_of(*sagas) == ["RUNNING", "PENDING", "PENDING"]
    work_together(3, [moved.saga for moved in done if moved.saga is not None])
    assert [effects(key) for key in ("slow", "T1", "T2")] == [["after", "noted"], ["noted"], ["noted"]]


def test_sagas_at_hand_have_their_turns_in_the_order_in_which_they_wait(world: World, define):
    trace = []

    def trace_key(ctx) -> None:
        trace.append(ctx.key)

    sagas = begin_all(define(Step(trace_key, reads_only=True)), "T0", "T1", "T2", "T3")

    work_together(4, loaded(sagas[2], sagas[0], sagas[3], sagas[1]))

    assert trace == ["T2", "T0", "T3", "T1"]


def test_a_saga_of_slow_steps_does_not_keep_the_others_waiting_to_its_end(world: World, define, dawdle):
    trace = []

    def run_slowly(ctx) -> None:
        trace.append((ctx.key, ctx.step))
        if ctx.key.startswith("slow"):
            dawdle()

    def first(ctx) -> None:
        run_slowly(ctx)

    def second(ctx) -> None:
        run_slowly(ctx)

    def third(ctx) -> None:
        run_slowly(ctx)

    plan = define(*(Step(function, reads_only=True) for function in (first, second, third)))
    sagas = begin_all(plan, "slow 1", "slow 2", "T1", "T2", "T3")

    drain_due()

    assert statuses_of(*sagas) == ["COMPLETED"] * 5
    assert len(trace) == 15
    for nth, step in enumerate(("first", "second")):
        turns = [trace.index((saga.business_key, step)) for saga in sagas]
        again = [trace.index((saga.business_key, ("second", "third")[nth])) for saga in sagas]
        assert max(turns) < min(again), "everybody has a turn before anybody has another one"


# --- stopping -------------------------------------------------------------------------------------------


@pytest.fixture
def stopped() -> Iterator[None]:
    """The driver of this process works again afterwards."""
    yield
    driver._stopping.clear()


def test_a_driver_that_is_stopped_in_the_middle_of_a_batch_finishes_it_and_begins_nothing_more(
    world: World, define, stopped: None
):
    sagas = begin_all(define(NOTE, Step(after, reads_only=True)), *MANY)
    world.does("T05", driver.stop)

    assert drain_due() is True

    assert [effects(key) for key in MANY] == [["noted"]] * 12
    assert statuses_of(*sagas) == ["RUNNING"] * 12
    driver._stopping.clear()
    drain_due()
    assert statuses_of(*sagas) == ["COMPLETED"] * 12
    assert [effects(key) for key in MANY] == [["after", "noted"]] * 12


def test_a_driver_that_is_stopped_waits_for_its_calls_and_writes_their_answers_down(
    world: World, define, stopped: None
):
    sagas = begin_all(define(CALL, Step(after, reads_only=True)), *MANY)
    world.does("call T05", driver.stop)
    world.does("call T07", lambda: sleep(0.1))

    assert drain_due() is True

    assert {tuple(outcomes(saga, "call_out")) for saga in sagas} == {("DONE",)}
    assert all_called_and_answered_once(world)
    assert statuses_of(*sagas) == ["RUNNING"] * 12
