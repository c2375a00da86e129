"""A saga that is at hand from its last commit is driven from there only if nothing has happened to it since."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import Error, connection, connections
from django.test.utils import CaptureQueriesContext
from msgspec.structs import replace

from sagas import services, store
from sagas.attempts import Call
from sagas.definition import Await, Context, Saga, Step
from sagas.driver import drain_due
from sagas.engine import Moved, record, record_together, work, work_together
from sagas.models import SagaInstance
from sagas.outcomes import Refused
from sagas.store import LoadedSaga
from tests.sagas.conftest import begin_trip, run
from tests.sagas.operating import ask, do
from tests.sagas.plans import TripData, World, effect, effects
from tests.sagas.rows import held, make_due, snapshot
from tests.sagas.test_locks import begin as begin_transfer
from tests.sagas.test_locks import held as holders
from tests.sagas.together import NOTE, begin_all, loaded, note, statuses_of

KEYS = ("T0", "T1", "T2")


def second(ctx) -> None:
    effect(ctx, "second")


def answer(ctx, word: str) -> None:
    effect(ctx, word)


def answered(plan: type[Saga[TripData]], key: str, word: str = "yes") -> bool:
    return services.signal(plan, key, answer, word, dedup_id=word)


@pytest.fixture
def waiting_plan(define: Callable[..., type[Saga[TripData]]]) -> type[Saga[TripData]]:
    """One step, and then a wait for ever."""
    return define(NOTE, Await(answer, reads_only=True))


# --- what happens between two commits -----------------------------------------------------------------


def cancel(plan: type[Saga[TripData]], saga: SagaInstance, operator: User) -> None:
    assert services.turn_back(plan, saga.business_key, why="not needed")


def pause(plan: object, saga: SagaInstance, operator: User) -> None:
    do("pause", saga, ask(operator, saga))


def move_on(plan: object, saga: SagaInstance, operator: User) -> None:
    assert work(saga.pk) == Moved(saga.pk, due=True)


@pytest.mark.parametrize(
    ("meanwhile", "status", "noted"),
    [(cancel, "COMPENSATED", []), (pause, "SUSPENDED", []), (move_on, "RUNNING", ["noted"])],
)
def test_a_saga_that_was_changed_between_two_commits_is_not_driven_from_memory(
    world: World,
    define,
    operator: User,
    meanwhile: Callable[[object, SagaInstance, User], None],
    status: str,
    noted: list[str],
):
    plan = define(NOTE, Step(second, reads_only=True))
    sagas = begin_all(plan, *KEYS)
    at_hand = loaded(*sagas)
    meanwhile(plan, sagas[1], operator)
    before = snapshot(sagas[1])

    done = work_together(3, at_hand)

    assert {moved.saga_id for moved in done} == {sagas[0].pk, sagas[2].pk}
    assert snapshot(sagas[1]) == before
    assert statuses_of(*sagas) == ["RUNNING", status, "RUNNING"]
    assert [effects(key) for key in KEYS] == [["noted"], noted, ["noted"]]


def test_a_saga_that_somebody_is_at_is_left_to_them(world: World, define):
    sagas = begin_all(define(NOTE), *KEYS)
    at_hand = loaded(*sagas)

    with held(sagas[1]):
        done = work_together(3, at_hand)

    assert {moved.saga_id for moved in done} == {sagas[0].pk, sagas[2].pk}
    assert statuses_of(*sagas) == ["COMPLETED", "PENDING", "COMPLETED"]
    drain_due()
    assert statuses_of(*sagas) == ["COMPLETED"] * 3


def test_a_saga_that_is_gone_is_left_out(world: World, define):
    sagas = begin_all(define(NOTE), *KEYS)
    at_hand = loaded(*sagas)
    sagas[1].delete()

    assert {moved.saga_id for moved in work_together(3, at_hand)} == {sagas[0].pk, sagas[2].pk}


# --- one saga alone, which is taken up by what goes along with its first statement --------------------


def nothing(ctx: Context[TripData]) -> None:
    """A step without a statement."""


def note_whatever_comes(ctx: Context[TripData]) -> None:
    """A step that does not mind an error of the database."""
    with suppress(Error):
        note(ctx)


@pytest.mark.parametrize("meanwhile", [cancel, pause, move_on])
@pytest.mark.parametrize("function", [nothing, note, note_whatever_comes])
def test_a_saga_alone_that_was_changed_between_two_commits_is_not_driven_from_memory(
    world: World,
    define,
    operator: User,
    meanwhile: Callable[[object, SagaInstance, User], None],
    function: Callable[[Context[TripData]], None],
):
    plan = define(Step(function, reads_only=True), Step(second, reads_only=True))
    (saga,) = begin_all(plan, "T0")
    at_hand = loaded(saga)
    meanwhile(plan, saga, operator)
    before, done_before = snapshot(saga), effects("T0")

    assert work_together(1, at_hand) == []

    assert snapshot(saga) == before
    assert effects("T0") == done_before


@pytest.mark.parametrize("function", [nothing, note, note_whatever_comes])
def test_a_saga_alone_that_somebody_is_at_is_left_to_them(
    world: World, define, function: Callable[[Context[TripData]], None]
):
    (saga,) = begin_all(define(Step(function, reads_only=True)), "T0")
    at_hand = loaded(saga)

    with held(saga):
        assert work_together(1, at_hand) == []

    assert statuses_of(saga) == ["PENDING"]
    drain_due()
    assert statuses_of(saga) == ["COMPLETED"]


def test_a_saga_alone_that_is_gone_is_left_out(world: World, define):
    (saga,) = begin_all(define(NOTE), "T0")
    at_hand = loaded(saga)
    saga.delete()

    assert work_together(1, at_hand) == []
    assert effects("T0") == []


def work_elsewhere(saga: SagaInstance) -> Moved | Call | None:
    def work_and_close() -> Moved | Call | None:
        try:
            return work(saga.pk)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work_and_close).result()


def test_a_saga_alone_is_nobody_elses_from_its_first_statement_on(world: World, define):
    (saga,) = begin_all(define(NOTE), "T0")
    at_hand = loaded(saga)
    seen: list[Moved | Call | None] = []
    world.does("T0", lambda: seen.append(work_elsewhere(saga)))

    assert work_together(1, at_hand) == [Moved(saga.pk, due=False)]
    assert seen == [None]
    assert effects("T0") == ["noted"]


def test_taking_up_a_saga_alone_again_is_no_statement_of_its_own(world: World, define):
    (saga,) = begin_all(define(NOTE, Step(second, reads_only=True)), "T0")
    at_hand = loaded(saga)

    with CaptureQueriesContext(connection) as queries:
        work_together(1, at_hand)

    assert len([query for query in queries if query["sql"] not in ("BEGIN", "COMMIT")]) == 2, (
        "the step's, and the write"
    )


def test_a_saga_at_hand_is_as_old_as_it_waited(world: World, define):
    (saga,) = loaded(*begin_all(define(NOTE), "T0"))
    waited = replace(saga, read_at=saga.read_at - 60)

    assert timedelta(seconds=60) <= store.as_of_now(waited).now - saga.now < timedelta(seconds=90)
    assert store.as_of_now(store.as_of_now(waited)).now - saga.now < timedelta(seconds=90), "counted once"


# --- signals ------------------------------------------------------------------------------------------


def test_a_signal_that_comes_before_its_step_and_between_two_commits_is_seen(world: World, waiting_plan):
    sagas = begin_all(waiting_plan, *KEYS)
    at_hand = loaded(*sagas)
    answered(waiting_plan, "T1")

    work_together(3, at_hand)
    run()

    assert statuses_of(*sagas) == ["WAITING", "COMPLETED", "WAITING"]
    assert effects("T1") == ["noted", "yes"]


def test_a_signal_to_sagas_that_were_taken_up_late_is_seen(world: World, waiting_plan):
    sagas = begin_all(waiting_plan, *KEYS)
    for saga in sagas:
        make_due(saga, since="1 minute")
    late = [moved.saga for moved in work_together(3) if isinstance(moved, Moved) and moved.saga is not None]
    assert len(late) == 3
    answered(waiting_plan, "T1")

    work_together(3, late)
    make_due(sagas[1])
    run()

    assert statuses_of(*sagas) == ["WAITING", "COMPLETED", "WAITING"]


@pytest.mark.parametrize(("sender", "receiver"), [("T0", "T2"), ("T2", "T0")], ids=["before its turn", "after it"])
def test_a_signal_from_a_step_to_a_saga_of_the_same_commit_is_seen(
    world: World, waiting_plan, sender: str, receiver: str
):
    sagas = begin_all(waiting_plan, *KEYS)
    world.script[sender] = [lambda: answered(waiting_plan, receiver)] * 2

    run()

    assert statuses_of(*sagas) == [{receiver: "COMPLETED"}.get(key, "WAITING") for key in KEYS]
    assert effects(receiver) == ["noted", "yes"]


# --- locks --------------------------------------------------------------------------------------------


def test_a_lock_that_is_handed_over_between_two_commits_is_seen(world: World):
    first, other = begin_transfer("T1"), begin_transfer("T3", "X", "Y")
    call = work(first.pk)
    assert isinstance(call, Call)
    in_line = begin_transfer("T2", "A", "C")
    make_due(in_line)
    at_hand = loaded(in_line, other)
    assert at_hand[0].state.blocked_on == "account A"
    record(call, call.make())
    assert work(first.pk) == Moved(first.pk, due=True), "settle gives the lock on A back"

    calls = work_together(2, at_hand)

    assert {call.saga_id for call in calls if isinstance(call, Call)} == {in_line.pk, other.pk}
    assert holders() == {"A": "T2", "B": "T1", "C": "T2", "X": "T3", "Y": "T3"}


def test_a_lock_that_is_taken_between_two_commits_is_seen(world: World, operator: User):
    """The saga did something before, so that it needs its lock again; somebody else has it by then."""
    first, other = begin_transfer("T1"), begin_transfer("T3", "X", "Y")
    at_hand = loaded(first, other)
    do("pause", first, ask(operator, first))
    do("release", first, ask(operator, first), lock="account A")
    second = begin_transfer("T2", "A", "C")
    do("resume", first, ask(operator, first))

    (call,) = work_together(2, at_hand)

    assert isinstance(call, Call)
    assert call.saga_id == other.pk
    assert holders()["A"] == "T2"
    record(call, call.make())
    drain_due()
    assert statuses_of(first, second, other) == ["COMPLETED"] * 3
    assert len(world.sent) == 3


# --- what is at hand ------------------------------------------------------------------------------------


@pytest.mark.parametrize("accidents", [(), ("reserve_seat",), ("book_flight",), ("pay",)])
def test_what_is_at_hand_after_a_commit_is_what_is_stored(world: World, accidents: tuple[str, ...]):
    for name in accidents:
        world.raises(name, Refused("no", "no"))
    sagas = [begin_trip(key) for key in KEYS]
    at_hand: list[LoadedSaga] = []
    compared = 0
    while done := work_together(len(KEYS), at_hand):
        answers = [(call, call.make()) for call in done if isinstance(call, Call)]
        moved = [*done, *record_together(answers)[0]]
        at_hand = [each.saga for each in moved if isinstance(each, Moved) and each.due and each.saga]
        for saga in at_hand:
            stored = store.read(saga.id)
            assert stored is not None
            assert replace(stored, now=saga.now, read_at=saga.read_at) == saga
            compared += 1

    assert set(statuses_of(*sagas)) <= {"COMPLETED", "COMPENSATED"}
    assert compared >= 9
