"""Sagas that share a commit: each stands or falls by itself, and what only the commit can tell undoes all of it."""

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from django.db import IntegrityError, transaction
from msgspec.structs import replace

from sagas import services, turns
from sagas.definition import Context, RemoteStep, Step, remote
from sagas.driver import drain_due
from sagas.engine import Moved, work, work_together
from sagas.exceptions import LockTaken
from sagas.models import SagaInstance
from sagas.outcomes import Refused, Transient
from sagas.states import ActionStatus
from tests.sagas.conftest import begin_trip
from tests.sagas.plans import Trip, TripData, World, effects
from tests.sagas.rows import outcomes, snapshot
from tests.sagas.together import NOTE, begin_all, commits_counted, execute, note, statuses_of, told

KEYS = ("T0", "T1", "T2", "T3", "T4")
BAD, GOOD = ("T0", "T2", "T4"), ("T1", "T3")


# --- each stands or falls by itself -----------------------------------------------------------------


def refuse() -> None:
    raise Refused("no", "no")


def ask_for_another_try() -> None:
    raise Transient("busy")


def have_a_bug() -> None:
    raise KeyError("x")


def break_a_constraint() -> None:
    execute("INSERT INTO test_effect SELECT * FROM test_effect")


def fail_a_statement_and_raise_something_else() -> None:
    try:
        execute("SELECT 1 / 0")
    except Exception as error:
        raise KeyError("x") from error


def ask_for_a_rollback() -> None:
    transaction.set_rollback(True)


def fail_in_a_block_of_its_own() -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: execute("INSERT INTO test_effect VALUES ('never', 'never')"))
    with transaction.atomic():
        break_a_constraint()


def swallow_the_failure_of_a_block_without_savepoint() -> None:
    with suppress(KeyError), transaction.atomic(savepoint=False):
        have_a_bug()


def swallow_that_a_saga_could_not_start() -> None:
    begin_trip("taken")
    with suppress(LockTaken), transaction.atomic(savepoint=False):
        services.start(Trip, TripData("taken"), key="another")


def commit() -> None:
    transaction.commit()


def begin_a_transaction_of_its_own() -> None:
    with transaction.atomic(durable=True):
        pass


@pytest.mark.parametrize(
    ("accident", "outcome", "status"),
    [
        (refuse, "REFUSED", "COMPENSATED"),
        (ask_for_another_try, "TRANSIENT", "WAITING"),
        (have_a_bug, "BUG", "WAITING"),
        (break_a_constraint, "BUG", "WAITING"),
        (fail_a_statement_and_raise_something_else, "BUG", "WAITING"),
        (ask_for_a_rollback, "BUG", "WAITING"),
        (fail_in_a_block_of_its_own, "BUG", "WAITING"),
        (swallow_the_failure_of_a_block_without_savepoint, "BUG", "WAITING"),
        (swallow_that_a_saga_could_not_start, "BUG", "WAITING"),
        (commit, "BUG", "WAITING"),
        (begin_a_transaction_of_its_own, "BUG", "WAITING"),
    ],
)
def test_of_sagas_that_share_a_commit_those_that_fail_leave_nothing_but_their_outcome(
    world: World, define, accident: Callable[[], None], outcome: str, status: str
):
    sagas = begin_all(define(NOTE), *KEYS)
    for key in BAD:
        world.does(key, accident)

    with commits_counted() as commits:
        done = work_together(5)

    assert commits() == 1
    assert done == [Moved(saga.pk, due=False) for saga in sagas]
    assert statuses_of(*sagas) == [status, "COMPLETED", status, "COMPLETED", status]
    assert [outcomes(saga, "note") for saga in sagas] == [[outcome], ["DONE"], [outcome], ["DONE"], [outcome]]
    assert [effects(key) for key in KEYS] == [[], ["noted"], [], ["noted"], []]
    assert told() == ["T1", "T3"]
    assert effects("never") == []


def test_a_step_may_use_blocks_of_its_own_and_what_fails_in_them_may_be_handled(world: World, define):
    sagas = begin_all(define(NOTE), *KEYS)

    def handle() -> None:
        with suppress(IntegrityError), transaction.atomic():
            break_a_constraint()
        with transaction.atomic():
            execute("INSERT INTO test_effect VALUES ('handled', 'handled')")

    world.does("T2", handle)

    with commits_counted() as commits:
        work_together(5)

    assert commits() == 1
    assert statuses_of(*sagas) == ["COMPLETED"] * 5
    assert effects("handled") == ["handled"]
    assert told() == list(KEYS)


def test_a_callback_that_fails_after_a_shared_commit_takes_no_other_with_it(world: World, define):
    """The commit happened: every call that it recorded is made, and every other callback runs."""

    @remote(prepare=note)
    def call_out(ctx, request) -> None: ...

    sagas = begin_all(define(RemoteStep(call_out, reads_only=True)), *KEYS)
    world.raises("told T1", KeyError("x"))

    calls = work_together(5)

    assert [call.saga_id for call in calls] == [saga.pk for saga in sagas]
    assert told() == list(KEYS)
    assert statuses_of(*sagas) == ["RUNNING"] * 5


# --- what only the end can tell -----------------------------------------------------------------------


@pytest.fixture
def orphans(world: World) -> Iterator[None]:
    """A table whose constraint speaks up at the commit only."""
    execute("CREATE TABLE test_parent (id int PRIMARY KEY)")
    execute("CREATE TABLE test_child (parent int REFERENCES test_parent DEFERRABLE INITIALLY DEFERRED)")
    yield
    execute("DROP TABLE test_child, test_parent")


def leave_an_orphan() -> None:
    execute("INSERT INTO test_child VALUES (1)")


def swallow_a_database_error() -> None:
    with suppress(IntegrityError):
        break_a_constraint()


def move_itself_on() -> None:
    SagaInstance.objects.filter(business_key="T2").update(version=7)


@pytest.mark.parametrize("accident", [leave_an_orphan, swallow_a_database_error, move_itself_on])
def test_what_fails_at_the_end_of_a_shared_commit_undoes_all_and_then_only_the_bad_one_is_set_aside(
    world: World, define, orphans: None, accident: Callable[[], None]
):
    sagas = begin_all(define(NOTE), *KEYS)
    before = [snapshot(saga) for saga in sagas]
    world.script["T2"] = [accident, accident]

    apart = work_together(5)

    assert apart == [Moved(saga.pk, due=True) for saga in sagas]
    assert [done.saga for done in apart if isinstance(done, Moved)] == [None] * 5, "each goes on by itself"
    assert [snapshot(saga) for saga in sagas] == before
    assert ([effects(key) for key in KEYS], told()) == ([[]] * 5, [])

    for saga in sagas:
        assert work(saga.pk) == Moved(saga.pk, due=False)
    assert statuses_of(*sagas) == ["COMPLETED", "COMPLETED", "SUSPENDED", "COMPLETED", "COMPLETED"]
    assert sagas[2].suspend_reason == "CONTRACT_VIOLATION"
    assert [effects(key) for key in KEYS] == [["noted"], ["noted"], [], ["noted"], ["noted"]]
    assert told() == ["T0", "T1", "T3", "T4"]


def weigh(ctx: Context[TripData]) -> float:
    note(ctx)
    return float("nan") if ctx.key in BAD else 1.5


def test_a_receipt_that_json_cannot_hold_is_not_stored_as_something_else(world: World, define):
    sagas = begin_all(define(Step(weigh, reads_only=True)), *KEYS)

    drain_due()

    assert statuses_of(*sagas) == ["SUSPENDED", "COMPLETED", "SUSPENDED", "COMPLETED", "SUSPENDED"]
    assert {saga.suspend_reason for saga in sagas} == {"CONTRACT_VIOLATION", ""}
    assert "not JSON compliant" in sagas[0].attention
    assert [effects(key) for key in KEYS] == [[], ["noted"], [], ["noted"], []]
    assert sagas[1].steps.get().receipt == 1.5


def test_a_move_that_the_table_does_not_know_undoes_all_and_then_only_that_saga_is_set_aside(
    world: World, define, monkeypatch
):
    sagas = begin_all(define(NOTE), *KEYS)
    finish = turns.finish

    def illegal(saga, task, outcome):
        turn = finish(saga, task, outcome)
        if saga.key != "T3":
            return turn
        return turn._replace(
            move=replace(turn.move, after=turn.move.after.with_step(0, action=ActionStatus.UNKNOWN)),
        )

    monkeypatch.setattr(turns, "finish", illegal)

    assert work_together(5) == [Moved(saga.pk, due=True) for saga in sagas]
    assert [effects(key) for key in KEYS] == [[]] * 5
    drain_due()

    assert statuses_of(*sagas) == ["COMPLETED", "COMPLETED", "COMPLETED", "SUSPENDED", "COMPLETED"]
    assert sagas[3].attention.startswith("IllegalMove: ")


def test_a_step_may_change_the_course_of_a_saga_that_shares_its_commit(world: World, define):
    plan = define(NOTE)
    sagas = begin_all(plan, *KEYS)
    world.script["T0"] = [lambda: services.turn_back(plan, "T1", why="not needed")] * 2
    world.script["T4"] = [lambda: services.turn_back(plan, "T3", why="not needed")] * 2

    drain_due()

    assert statuses_of(*sagas) == ["COMPLETED", "COMPENSATED", "COMPLETED", "COMPLETED", "COMPLETED"]
    assert [effects(key) for key in KEYS] == [["noted"], [], ["noted"], ["noted"], ["noted"]]
