"""Answers that share a commit: none is dropped and none is used twice, whatever becomes of the others."""

from collections.abc import Callable

import pytest
from django.db import OperationalError

from sagas import engine
from sagas.attempts import Call
from sagas.definition import Parallel, RemoteStep, Saga, remote
from sagas.engine import Moved, record, record_together, work_together
from sagas.models import SagaInstance
from sagas.outcomes import Outcome, OutcomeKind, Refused
from tests.racing import race
from tests.sagas.conftest import begin, begin_call
from tests.sagas.plans import TripData, World, effect, effects
from tests.sagas.rows import end_lease, held, outcomes, snapshot
from tests.sagas.together import LATER, begin_all, commits_counted, note, statuses_of, told

KEYS = ("T0", "T1", "T2", "T3", "T4")


def note_answer(ctx, receipt) -> None:
    note(ctx)


def note_refusal(ctx, error) -> None:
    effect(ctx, f"refused {error.code}")


@remote(record=note_answer, refused=note_refusal)
def call_out(ctx, request) -> None: ...


CALL = RemoteStep(call_out, reads_only=True, retry=LATER)
YES = Outcome(OutcomeKind.DONE)
NO = Outcome(OutcomeKind.REFUSED, code="no", message="no", error=Refused("no", "no"))


@pytest.fixture
def plan(define: Callable[..., type[Saga[TripData]]]) -> type[Saga[TripData]]:
    return define(CALL)


def answers_of(sagas: list[SagaInstance], outcome: Outcome = YES) -> list[tuple[Call, Outcome]]:
    """Every saga's call under way, and what came of it."""
    calls = work_together(len(sagas))
    return [(call, outcome) for call in calls if isinstance(call, Call)]


def test_answers_of_several_sagas_are_one_commit(world: World, plan):
    sagas = begin_all(plan, *KEYS)
    answers = answers_of(sagas)
    answers[3] = (answers[3][0], NO)

    with commits_counted() as commits:
        moved, left = record_together(answers)

    assert (commits(), left) == (1, [])
    assert moved == [Moved(saga.pk, due=False) for saga in sagas]
    assert statuses_of(*sagas) == ["COMPLETED", "COMPLETED", "COMPLETED", "COMPENSATED", "COMPLETED"]
    assert [effects(key) for key in KEYS] == [["noted"], ["noted"], ["noted"], ["refused no"], ["noted"]]
    assert told() == ["T0", "T1", "T2", "T4"]


def test_a_late_answer_among_good_ones_changes_nothing_and_comes_not_again(world: World, plan):
    sagas = begin_all(plan, *KEYS)
    answers = answers_of(sagas)
    end_lease(sagas[2])
    while engine.work(sagas[2].pk) is None:
        pass
    before = snapshot(sagas[2])
    assert outcomes(sagas[2], "call_out") == ["LEASE_OVER"]

    moved, left = record_together(answers)

    assert left == []
    assert {done.saga_id for done in moved} == {saga.pk for saga in sagas} - {sagas[2].pk}
    assert snapshot(sagas[2]) == before
    assert effects("T2") == []
    assert statuses_of(*sagas) == ["COMPLETED", "COMPLETED", "WAITING", "COMPLETED", "COMPLETED"]


def test_answers_that_were_written_down_before_change_nothing(world: World, plan):
    sagas = begin_all(plan, *KEYS)
    answers = answers_of(sagas)
    record_together(answers)
    before = [snapshot(saga) for saga in sagas]

    assert record_together(answers) == ([], [])

    assert [snapshot(saga) for saga in sagas] == before


def test_two_that_write_the_same_answers_down_at_once_write_them_once(world: World, plan):
    sagas = begin_all(plan, *KEYS)
    answers = answers_of(sagas)

    results = race([lambda: record_together(answers), lambda: record_together(answers[::-1])])

    recorded = [done.saga_id for moved, _ in results for done in moved]
    assert len(recorded) == len(set(recorded))
    for _, left in results:
        for answer in left:
            record(*answer)
    assert statuses_of(*sagas) == ["COMPLETED"] * 5
    assert [effects(key) for key in KEYS] == [["noted"]] * 5
    assert [outcomes(saga, "call_out") for saga in sagas] == [["DONE"]] * 5


@pytest.mark.parametrize("wrong", [KeyError("x"), OperationalError("the server closed the connection")])
def test_a_hook_that_raises_leaves_every_answer_for_a_commit_of_its_own(world: World, plan, wrong: Exception):
    sagas = begin_all(plan, *KEYS)
    answers = answers_of(sagas)
    before = [snapshot(saga) for saga in sagas]
    world.raises("T2", wrong)

    moved, left = record_together(answers)

    assert (moved, left) == ([], answers)
    assert [snapshot(saga) for saga in sagas] == before
    assert ([effects(key) for key in KEYS], told()) == ([[]] * 5, [])
    for answer in left:
        record(*answer)
    assert statuses_of(*sagas) == ["COMPLETED"] * 5
    assert [effects(key) for key in KEYS] == [["noted"]] * 5
    assert told() == list(KEYS)


def test_an_answer_whose_saga_somebody_is_at_is_left_and_the_others_are_written_down(world: World, plan):
    sagas = begin_all(plan, *KEYS)
    answers = answers_of(sagas)

    with held(sagas[3]):
        moved, left = record_together(answers)

    assert left == [answers[3]]
    assert {done.saga_id for done in moved} == {saga.pk for saga in sagas} - {sagas[3].pk}
    assert statuses_of(*sagas) == ["COMPLETED", "COMPLETED", "COMPLETED", "RUNNING", "COMPLETED"]
    assert record(*answers[3]) == Moved(sagas[3].pk, due=False)
    assert effects("T3") == ["noted"]


def test_two_answers_of_one_saga_are_not_mixed_up(world: World, define):
    @remote()
    def left(ctx, request) -> None: ...

    @remote()
    def right(ctx, request) -> None: ...

    plan = define(Parallel(RemoteStep(left, reads_only=True), RemoteStep(right, reads_only=True)))
    saga = begin(plan)
    answers = [(begin_call(saga), YES), (begin_call(saga), YES)]
    before = snapshot(saga)

    assert record_together(answers) == ([], answers), "they cannot share a commit"

    assert snapshot(saga) == before
    assert [record(*answer) for answer in answers] == [Moved(saga.pk, due=False)] * 2
    assert statuses_of(saga) == ["COMPLETED"]
