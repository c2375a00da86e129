"""Sagas that share a commit and rows that others hold: short waits, no deadlock for long, no write past a holder."""

from collections.abc import Callable, Iterator
from functools import partial
from threading import Barrier
from time import monotonic

import pytest

from sagas.definition import Lock, Saga, Step
from sagas.driver import drain_due
from sagas.engine import Moved, work, work_together
from sagas.models import SagaInstance
from sagas.outcomes import Refused
from tests.racing import race
from tests.sagas.conftest import begin
from tests.sagas.plans import TripData, World, effects
from tests.sagas.rows import held, outcomes
from tests.sagas.together import NOTE, begin_all, commits_counted, execute, loaded, statuses_of, told

KEYS = ("T0", "T1", "T2", "T3", "T4")

# Many times as long as a shared commit waits for a row, and a third of what `long_waits` makes of it otherwise.
SOON = 10.0


@pytest.fixture
def long_waits(world: World) -> Iterator[None]:
    """A commit by itself would wait for half a minute: a machine that stands still for moments is told apart."""
    execute("SET lock_timeout = '30s'")
    execute("SET statement_timeout = '60s'")
    yield
    execute("RESET lock_timeout")
    execute("RESET statement_timeout")


def lock_row_of(saga: SagaInstance) -> Callable[[], None]:
    return lambda: execute("SELECT FROM sagas_sagainstance WHERE id = %s FOR UPDATE", saga.pk)


# --- rows that others hold ------------------------------------------------------------------------------


def test_a_step_that_waits_for_a_row_goes_on_by_itself_and_the_others_do_not_wait_for_it(
    world: World, define, long_waits: None
):
    plan = define(NOTE)
    sagas = begin_all(plan, *KEYS)
    elsewhere = begin(plan, "elsewhere")
    world.does("T2", lock_row_of(elsewhere))

    with held(elsewhere):
        started = monotonic()
        with commits_counted() as commits:
            done = [moved for moved in work_together(5) if isinstance(moved, Moved)]
            at_hand = [moved.saga for moved in done if moved.due and moved.saga is not None]
            work_together(5, at_hand)
        took = monotonic() - started

        assert (commits(), took < SOON) == (2, True)
        assert [moved.saga_id for moved in done if moved.due and moved.saga is None] == [sagas[2].pk]
        assert [saga.id for saga in at_hand] == [sagas[3].pk, sagas[4].pk], "they have let go of what it may wait for"
        assert statuses_of(*sagas) == ["COMPLETED", "COMPLETED", "PENDING", "COMPLETED", "COMPLETED"]
        assert told() == ["T0", "T1", "T3", "T4"]
        assert effects("T2") == []
    drain_due()
    assert statuses_of(*sagas) == ["COMPLETED"] * 5
    assert outcomes(sagas[2], "note") == ["DONE"], "the wait cost it no attempt"
    assert [effects(key) for key in KEYS] == [["noted"]] * 5


def test_many_steps_that_wait_for_rows_do_not_add_up(world: World, define, long_waits: None):
    plan = define(NOTE)
    sagas = begin_all(plan, *(f"T{number}" for number in range(20)))
    elsewhere = begin(plan, "elsewhere")
    for saga in sagas:
        world.does(saga.business_key, lock_row_of(elsewhere))

    with held(elsewhere):
        started = monotonic()
        done = work_together(20)
        took = monotonic() - started

    assert took < SOON
    assert {moved.saga_id for moved in done} == {saga.pk for saga in sagas}
    assert all(moved.due for moved in done)
    drain_due()
    assert statuses_of(*sagas) == ["COMPLETED"] * 20
    assert {tuple(outcomes(saga, "note")) for saga in sagas} == {("DONE",)}


@pytest.fixture
def rows(world: World) -> Iterator[None]:
    execute("CREATE TABLE test_row (name text PRIMARY KEY, count int NOT NULL DEFAULT 0)")
    execute("INSERT INTO test_row VALUES ('left'), ('right')")
    yield
    execute("DROP TABLE test_row")


def count_up(name: str) -> Callable[[], None]:
    return lambda: execute("UPDATE test_row SET count = count + 1 WHERE name = %s", name)


@pytest.mark.parametrize("deadlock_timeout", ["2ms", "30s"])
def test_two_workers_whose_sagas_want_two_rows_in_opposite_order_wait_briefly_and_lose_nothing(
    world: World, define, rows: None, deadlock_timeout: str
):
    """Whether PostgreSQL finds the deadlock, or we give up waiting before it looks for one."""
    sagas = begin_all(define(NOTE), *KEYS[:4])
    both_hold_one = Barrier(2)
    look = partial(execute, "SELECT set_config('deadlock_timeout', %s, true)", deadlock_timeout)
    for key, name in zip(KEYS, ("left", "right", "right", "left"), strict=False):
        first = key in ("T0", "T2")
        world.does(key, lambda name=name, first=first: (look(), count_up(name)(), first and both_hold_one.wait(30)))
        world.does(key, count_up(name))
    halves = loaded(*sagas[:2]), loaded(*sagas[2:])

    started = monotonic()
    results = race([lambda: work_together(2, halves[0]), lambda: work_together(2, halves[1])])
    took = monotonic() - started

    assert not [result for result in results if isinstance(result, Exception)]
    assert any(moved.due for done in results for moved in done), "somebody gave way"
    assert took < SOON
    drain_due()
    assert statuses_of(*sagas) == ["COMPLETED"] * 4
    assert [outcomes(saga, "note") for saga in sagas] == [["DONE"]] * 4, "no attempt was lost to the deadlock"
    assert SagaInstance.objects.raw("SELECT 1 AS id, count FROM test_row")[0].count == 2
    assert [effects(key) for key in KEYS[:4]] == [["noted"]] * 4


# --- rows that sagas hold -------------------------------------------------------------------------------


@pytest.fixture
def accounts(rows: None) -> None:
    """Each saga holds the row with its number, and the database refuses everybody else."""
    execute("INSERT INTO test_row SELECT 'T' || number FROM generate_series(0, 4) number")
    execute(
        "CREATE TRIGGER test_row_belongs_to_its_saga BEFORE UPDATE OR DELETE ON test_row "
        "FOR EACH ROW EXECUTE FUNCTION sagas_refuse_unless_holder('row', 'name')"
    )


def holding(define: Callable[..., type[Saga[TripData]]]) -> type[Saga[TripData]]:
    """It still holds its row after its first step."""

    def rest(ctx) -> None: ...

    lock = Lock[TripData]("row", lambda data: data.number)
    return define(NOTE, Step(rest, reads_only=True), locks=(lock,))


def counts() -> dict[str, int]:
    rows = SagaInstance.objects.raw("SELECT 1 AS id, name, count FROM test_row WHERE name LIKE 'T%%'")
    return {row.name: row.count for row in rows}


def test_sagas_that_share_a_commit_each_write_what_they_hold(world: World, define, accounts: None):
    sagas = begin_all(holding(define), *KEYS)
    for key in KEYS:
        world.does(key, count_up(key))

    with commits_counted() as commits:
        work_together(5)

    assert commits() == 1
    assert [outcomes(saga, "note") for saga in sagas] == [["DONE"]] * 5
    assert counts() == dict.fromkeys(KEYS, 1)


@pytest.mark.parametrize("other", ["T0", "T1", "T3", "T4"])
def test_no_saga_writes_what_another_one_of_its_commit_holds(world: World, define, accounts: None, other: str):
    sagas = begin_all(holding(define), *KEYS)
    bad = sagas[2]
    for key in KEYS:
        world.does(key, count_up(other if key == "T2" else key))
    world.does("T2", count_up(other))

    done = work_together(5)

    assert [moved.saga_id for moved in done if isinstance(moved, Moved) and moved.saga is None] == [bad.pk]
    assert outcomes(bad, "note") == []
    assert work(bad.pk) == Moved(bad.pk, due=False)
    assert outcomes(bad, "note") == ["TRANSIENT"]
    assert f"row {other} is held by saga" in bad.attempts.get().message
    drain_due()
    assert counts() == {key: int(key != "T2") for key in KEYS}
    assert effects("T2") == []


def test_after_a_turn_that_was_rolled_back_the_next_one_acts_for_itself_again(world: World, define, accounts: None):
    sagas = begin_all(holding(define), *KEYS)
    for key in KEYS:
        world.does(key, refuse if key in ("T0", "T2") else count_up(key))

    with commits_counted() as commits:
        work_together(5)

    assert commits() == 1
    assert statuses_of(*sagas) == ["COMPENSATED", "RUNNING", "COMPENSATED", "RUNNING", "RUNNING"]
    assert counts() == {"T0": 0, "T1": 1, "T2": 0, "T3": 1, "T4": 1}


def refuse() -> None:
    raise Refused("no", "no")
