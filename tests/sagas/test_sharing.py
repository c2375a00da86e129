"""The savepoint of a turn goes along with its first statement, whatever that is and however it is sent."""

from collections.abc import Callable, Iterator
from threading import Thread

import psycopg
import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now
from psycopg import sql

from sagas import prepared
from sagas.definition import Await, Context, Lock, Saga, Step, registry
from sagas.driver import drain_due
from sagas.engine import Moved, work, work_together
from sagas.models import LockWaiter, SagaInstance, SemanticLock
from sagas.outcomes import Refused
from sagas.services import OnConflict, start, turn_back
from tests.racing import until_somebody_waits
from tests.sagas import plans
from tests.sagas.conftest import begin
from tests.sagas.plans import TripData, World, inspection
from tests.sagas.rows import held, outcomes
from tests.sagas.together import LATER, begin_all, commits_counted, execute, loaded, rollbacks_counted, statuses_of

KEYS = ("T0", "T1", "T2", "T3", "T4")


def only_what_is_scripted(ctx: Context[TripData]) -> None:
    plans.world.before(ctx.key)


@pytest.fixture(autouse=True)
def rows(world: World) -> Iterator[None]:
    """Each saga holds the row with its number, and the database refuses everybody else."""
    execute("CREATE TABLE test_row (name text PRIMARY KEY, count int NOT NULL DEFAULT 0)")
    execute("INSERT INTO test_row SELECT 'T' || number FROM generate_series(0, 4) number")
    execute(
        "CREATE TRIGGER test_row_belongs_to_its_saga BEFORE UPDATE OR DELETE ON test_row "
        "FOR EACH ROW EXECUTE FUNCTION sagas_refuse_unless_holder('row', 'name')"
    )
    execute(
        "CREATE FUNCTION count_up(text) RETURNS int LANGUAGE sql "
        "AS 'UPDATE test_row SET count = count + 1 WHERE name = $1 RETURNING count'"
    )
    yield
    execute("DROP FUNCTION count_up")
    execute("DROP TABLE test_row")


def holding(define: Callable[..., type[Saga[TripData]]]) -> type[Saga[TripData]]:
    lock = Lock[TripData]("row", lambda data: data.number)
    return define(Step(only_what_is_scripted, reads_only=True, retry=LATER), locks=(lock,))


def begin_five(define: Callable[..., type[Saga[TripData]]]) -> list[SagaInstance]:
    return begin_all(holding(define), *KEYS)


def counts() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, count FROM test_row")
        return dict(cursor.fetchall())


# --- how the first statement of a turn may be sent --------------------------------------------------

COUNT_UP = "UPDATE test_row SET count = count + 1 WHERE name = %s RETURNING count"


def with_parameters(key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(COUNT_UP, [key])
        assert (cursor.rowcount, cursor.fetchall()) == (1, [(1,)])


def with_named_parameters(key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE test_row SET count = count + 1 WHERE name = %(name)s RETURNING count", {"name": key})
        assert cursor.fetchall() == [(1,)]


def without_parameters(key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE test_row SET count = count + 1 WHERE name LIKE '%{key}' RETURNING count")
        assert cursor.fetchall() == [(1,)]


def with_an_answer_read_row_by_row(key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(COUNT_UP, [key])
        assert [cursor.description[0].name, *cursor] == ["count", (1,)]


def composed(key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("UPDATE {} SET count = count + 1 WHERE name = %s").format(sql.Identifier("test_row")), [key]
        )
        assert cursor.rowcount == 1


def two_in_one(key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 'first'; UPDATE test_row SET count = count + 1 WHERE name = '{key}'")
        assert cursor.fetchall() == [("first",)]
        assert cursor.nextset()
        assert cursor.rowcount == 1
        assert not cursor.nextset()


def several_at_once(key: str) -> None:
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE test_row SET count = count + %s WHERE name = %s", [(2, key), (-1, key)])


def prepared_by_the_server(key: str) -> None:
    with prepared.cursor() as cursor:
        cursor.execute(COUNT_UP, [key])
        assert cursor.fetchall() == [(1,)]


def in_a_block_of_its_own(key: str) -> None:
    with transaction.atomic():
        with_parameters(key)


def after_a_block_that_failed(key: str) -> None:
    try:
        with transaction.atomic():
            execute("SELECT 1 / 0")
    except Exception:
        with_parameters(key)


def by_the_driver_itself(key: str) -> None:
    assert connection.connection.execute(COUNT_UP, [key]).fetchall() == [(1,)]


def in_a_transaction_of_the_driver(key: str) -> None:
    with connection.connection.transaction():
        by_the_driver_itself(key)


def by_what_a_server_side_cursor_of_the_driver_calls(key: str) -> None:
    with connection.connection.cursor("named") as cursor:
        cursor.execute("SELECT count_up(%s)", [key])
        assert cursor.fetchall() == [(1,)]


def as_a_stream(key: str) -> None:
    with connection.cursor() as cursor:
        assert list(cursor.stream(COUNT_UP, [key])) == [(1,)]


def after_a_server_side_cursor(key: str) -> None:
    assert len(list(SagaInstance.objects.iterator())) == 5
    with_parameters(key)


def by_what_a_server_side_cursor_calls(key: str) -> None:
    with connection.chunked_cursor() as cursor:
        cursor.execute("SELECT count_up(%s)", [key])
        assert cursor.fetchall() == [(1,)]


def after_a_copy(key: str) -> None:
    with connection.cursor() as cursor, cursor.copy("COPY test_row (name, count) FROM STDIN") as copy:
        copy.write(f"copied for {key}\t1\n")
    with_parameters(key)


WAYS = [
    with_parameters,
    with_named_parameters,
    without_parameters,
    with_an_answer_read_row_by_row,
    composed,
    two_in_one,
    several_at_once,
    prepared_by_the_server,
    in_a_block_of_its_own,
    after_a_block_that_failed,
    by_the_driver_itself,
    in_a_transaction_of_the_driver,
    by_what_a_server_side_cursor_of_the_driver_calls,
    as_a_stream,
    after_a_server_side_cursor,
    by_what_a_server_side_cursor_calls,
    after_a_copy,
]


@pytest.mark.parametrize("write", WAYS)
def test_each_saga_of_a_shared_commit_acts_as_the_holder_of_its_own_row(
    world: World, define, write: Callable[[str], None]
):
    sagas = begin_five(define)
    for key in KEYS:
        world.does(key, lambda key=key: write(key))

    with commits_counted() as commits:
        work_together(5)

    assert commits() == 1
    assert [outcomes(saga, "only_what_is_scripted") for saga in sagas] == [["DONE"]] * 5
    assert {key: counts()[key] for key in KEYS} == dict.fromkeys(KEYS, 1)


@pytest.mark.parametrize("write", WAYS)
def test_what_a_saga_of_a_shared_commit_raises_takes_back_what_it_wrote_and_nothing_else(
    world: World, define, write: Callable[[str], None]
):
    sagas = begin_five(define)

    def write_and_refuse(key: str) -> None:
        write(key)
        raise Refused("no", "no")

    for key in KEYS:
        world.does(key, lambda key=key: (write_and_refuse if key in ("T0", "T3") else write)(key))

    with commits_counted() as commits:
        work_together(5)

    assert commits() == 1
    assert statuses_of(*sagas) == ["COMPENSATED", "COMPLETED", "COMPLETED", "COMPENSATED", "COMPLETED"]
    expected = {"T0": 0, "T1": 1, "T2": 1, "T3": 0, "T4": 1}
    copied = {f"copied for {key}": 1 for key, count in expected.items() if count and write is after_a_copy}
    assert counts() == expected | copied


def count_up_and_refuse(key: str) -> None:
    with_parameters(key)
    raise Refused("no", "no")


# --- sagas without locks ----------------------------------------------------------------------------


def without_locks(define: Callable[..., type[Saga[TripData]]]) -> type[Saga[TripData]]:
    return define(Step(only_what_is_scripted, reads_only=True, retry=LATER), name="test.free")


def test_a_saga_that_holds_nothing_does_not_act_for_the_one_before_it(world: World, define):
    """The third writes what the second holds: that is refused, and tried again by itself."""
    free = without_locks(define)
    sagas = [begin(free, "T0"), begin(holding(define), "T1"), begin(free, "T2")]
    for key in ("T0", "T1", "T2"):
        world.does(key, lambda key=key: with_parameters("T0" if key == "T0" else "T1"))

    assert work_together(3)[0] == Moved(sagas[2].pk, due=True)

    assert statuses_of(*sagas) == ["COMPLETED", "COMPLETED", "PENDING"]
    assert counts() == dict.fromkeys(KEYS, 0) | {"T0": 1, "T1": 1}


def test_sagas_that_hold_nothing_say_once_that_they_do(world: World, define):
    begin_all(without_locks(define), *KEYS)
    for key in KEYS:
        world.does(key, lambda key=key: with_parameters(key))

    with CaptureQueriesContext(connection) as queries:
        work_together(5)

    assert sum("SET LOCAL sagas.holder" in str(query["sql"]) for query in queries) == 1
    assert counts() == dict.fromkeys(KEYS, 1)


def test_what_was_said_in_a_turn_that_raised_is_said_again(world: World, define):
    """The third writes what the first holds."""
    free = without_locks(define)
    sagas = [begin(holding(define), "T1"), begin(free, "T0"), begin(free, "T2")]
    world.does("T1", lambda: with_parameters("T1"))
    world.does("T0", lambda: count_up_and_refuse("T0"))
    world.does("T2", lambda: with_parameters("T1"))

    work_together(3)

    assert outcomes(sagas[1], "only_what_is_scripted") == ["REFUSED"]
    assert statuses_of(*sagas) == ["COMPLETED", "COMPENSATED", "PENDING"]
    assert counts() == {"T0": 0, "T1": 1, "T2": 0, "T3": 0, "T4": 0}


@pytest.mark.parametrize("version", [1, 2])
def test_newer_code_without_locks_acts_for_a_saga_that_has_some_and_lets_go_of_them(world: World, define, version: int):
    """Locks may be taken out of a plan as what is behind the steps that were reached: in place, too."""
    sagas = begin_five(define)
    del registry["test.own", 1]
    define(Step(only_what_is_scripted, reads_only=True, retry=LATER), version=version)
    for key in KEYS:
        world.does(key, lambda key=key: with_parameters(key))

    drain_due()

    assert statuses_of(*sagas) == ["COMPLETED"] * 5
    assert counts() == dict.fromkeys(KEYS, 1)
    assert not SemanticLock.objects.exists()


def test_newer_code_without_locks_leaves_the_line_that_older_code_got_in(world: World, define):
    """What is handed to who does not wait for it any more would never be let go of."""
    bound = define(
        Step(only_what_is_scripted, reads_only=True, retry=LATER), locks=(Lock[TripData]("row", lambda data: "T0"),)
    )
    with transaction.atomic():
        holder = start(bound, TripData("T0"), key="T0")
        waiter = start(bound, TripData("T1"), key="T1", on_conflict=OnConflict.WAIT)
    del registry["test.own", 1]
    define(Step(only_what_is_scripted, reads_only=True, retry=LATER))

    work(waiter.pk)
    drain_due()

    assert statuses_of(holder, waiter) == ["COMPLETED", "COMPLETED"]
    assert not SemanticLock.objects.exists()
    assert not LockWaiter.objects.exists()


def test_newer_code_without_locks_lets_go_of_what_older_code_took_while_it_waited_for_the_saga(world: World, define):
    """As when an operator's release and resume go through a process that was not deployed yet."""
    plan = define(Await(inspection, reads_only=True))
    saga = begin(plan)
    drain_due()
    turned: list[bool] = []

    def turn() -> None:
        try:
            turned.append(turn_back(plan, "T1", why="wanted"))
        finally:
            connections.close_all()

    newer = Thread(target=turn)
    with transaction.atomic():
        execute("UPDATE sagas_sagainstance SET version = version + 1")
        newer.start()
        until_somebody_waits()
        SemanticLock.objects.create(resource_type="row", resource_id="T1", saga=saga, taken_at=now())
    newer.join()

    assert (turned, statuses_of(saga)) == ([True], ["COMPENSATED"])
    assert not SemanticLock.objects.exists()


# --- one saga alone -------------------------------------------------------------------------------

# Taken up by a statement of its own, or by what goes along with the first one of its step.
ALONE = [
    pytest.param(lambda saga: [work(saga.pk)], id="taken up"),
    pytest.param(lambda saga: work_together(1, loaded(saga)), id="at hand"),
]
Alone = Callable[[SagaInstance], list[Moved]]


@pytest.mark.parametrize("alone", ALONE)
@pytest.mark.parametrize("write", WAYS)
def test_a_saga_alone_acts_as_the_holder_of_its_own_row(
    world: World, define, write: Callable[[str], None], alone: Alone
):
    sagas = begin_five(define)
    world.does("T0", lambda: write("T0"))

    with commits_counted() as commits:
        assert alone(sagas[0]) == [Moved(sagas[0].pk, due=False)]

    assert commits() == 1
    assert outcomes(sagas[0], "only_what_is_scripted") == ["DONE"]
    assert {key: counts()[key] for key in KEYS} == dict.fromkeys(KEYS, 0) | {"T0": 1}


@pytest.mark.parametrize("alone", ALONE)
@pytest.mark.parametrize("write", WAYS)
def test_what_a_saga_alone_raises_takes_back_what_it_wrote(
    world: World, define, write: Callable[[str], None], alone: Alone
):
    sagas = begin_five(define)

    def write_and_refuse() -> None:
        write("T0")
        raise Refused("no", "no")

    world.does("T0", write_and_refuse)

    assert alone(sagas[0]) == [Moved(sagas[0].pk, due=False)]

    assert statuses_of(sagas[0]) == ["COMPENSATED"]
    assert counts() == dict.fromkeys(KEYS, 0)


@pytest.mark.parametrize("alone", ALONE)
def test_a_saga_alone_that_raises_before_its_first_statement_is_recorded_without_a_rollback(
    world: World, define, alone: Alone
):
    saga = begin_five(define)[0]
    world.raises("T0", Refused("no", "no"))

    with commits_counted() as commits, rollbacks_counted() as rollbacks:
        alone(saga)

    assert (commits(), rollbacks()) == (1, 0)
    assert statuses_of(saga) == ["COMPENSATED"]


@pytest.mark.parametrize("write", WAYS)
def test_a_saga_alone_that_was_moved_on_writes_nothing(world: World, define, write: Callable[[str], None]):
    saga = begin_five(define)[0]
    at_hand = loaded(saga)
    work(saga.pk)
    world.does("T0", lambda: write("T0"))

    assert work_together(1, at_hand) == []

    assert counts() == dict.fromkeys(KEYS, 0)
    assert outcomes(saga, "only_what_is_scripted") == ["DONE"]


@pytest.mark.parametrize("write", WAYS)
def test_a_saga_that_is_left_alone_acts_as_the_holder_of_its_own_row(
    world: World, define, write: Callable[[str], None]
):
    """The other one that was at hand has been moved on since."""
    plan = holding(define)
    first, other, *_ = begin_all(plan, *KEYS)
    at_hand = loaded(first, other)
    turn_back(plan, other.business_key, why="cancelled")
    world.does("T0", lambda: write("T0"))

    assert work_together(2, at_hand) == [Moved(first.pk, due=False)]

    assert outcomes(first, "only_what_is_scripted") == ["DONE"]
    assert {key: counts()[key] for key in KEYS} == dict.fromkeys(KEYS, 0) | {"T0": 1}


@pytest.mark.parametrize("write", WAYS)
def test_a_saga_claimed_beside_one_that_somebody_is_at_acts_as_the_holder_of_its_own_row(
    world: World, define, write: Callable[[str], None]
):
    first, others = (sagas := begin_five(define))[0], sagas[1:]
    world.does("T0", lambda: write("T0"))

    with held(*others):
        assert work_together(5) == [Moved(first.pk, due=False)]

    assert outcomes(first, "only_what_is_scripted") == ["DONE"]
    assert {key: counts()[key] for key in KEYS} == dict.fromkeys(KEYS, 0) | {"T0": 1}


# --- when the first statement fails -----------------------------------------------------------------


def that_the_server_cannot_parse() -> None:
    execute("SELEKT 1")


def that_the_driver_cannot_send() -> None:
    execute("SELECT %s, %s", 1)


def that_the_server_refuses() -> None:
    execute("SELECT 1 / 0")


def by_the_driver_that_the_server_cannot_parse() -> None:
    with pytest.raises(psycopg.Error):
        connection.connection.execute("SELEKT 1")
    raise Refused("no", "no")


def in_a_server_side_cursor() -> None:
    list(SagaInstance.objects.extra(where=["1 / 0 = 1"]).iterator())


@pytest.mark.parametrize(
    "fail",
    [
        that_the_server_cannot_parse,
        that_the_driver_cannot_send,
        that_the_server_refuses,
        by_the_driver_that_the_server_cannot_parse,
        in_a_server_side_cursor,
    ],
)
@pytest.mark.parametrize("bad", ["T0", "T2", "T4"])
def test_a_first_statement_that_fails_takes_nothing_back_that_others_wrote(
    world: World, define, fail: Callable[[], None], bad: str
):
    sagas = begin_five(define)
    for key in KEYS:
        # Twice: when the commit as a whole was not possible, all of them go by themselves.
        for _ in range(2):
            world.does(key, fail if key == bad else lambda key=key: with_parameters(key))

    drain_due()

    good = [key for key in KEYS if key != bad]
    assert {key: counts()[key] for key in good} == dict.fromkeys(good, 1)
    assert [
        s.business_key for s, status in zip(sagas, statuses_of(*sagas), strict=True) if status == "COMPLETED"
    ] == good
    assert outcomes(sagas[KEYS.index(bad)], "only_what_is_scripted") in (["BUG"], ["REFUSED"])


def test_a_turn_without_a_statement_leaves_the_turns_round_it_alone(world: World, define):
    sagas = begin_five(define)

    def refuse() -> None:
        raise Refused("no", "no")

    for key in KEYS:
        if key in ("T0", "T2", "T4"):
            world.does(key, refuse)
        if key == "T1":
            world.does(key, lambda: with_parameters("T1"))

    with commits_counted() as commits:
        work_together(5)

    assert commits() == 1
    assert statuses_of(*sagas) == ["COMPENSATED", "COMPLETED", "COMPENSATED", "COMPLETED", "COMPENSATED"]
    assert counts() == {"T0": 0, "T1": 1, "T2": 0, "T3": 0, "T4": 0}


def test_after_a_shared_commit_the_connection_makes_its_cursors_as_before(world: World, define):
    begin_five(define)
    driver = connection.connection
    before = driver.cursor_factory, driver.server_cursor_factory

    work_together(5)

    assert (driver.cursor_factory, driver.server_cursor_factory) == before
    assert not {"transaction", "chunked_cursor"} & {*vars(driver), *vars(connections[connection.alias])}
