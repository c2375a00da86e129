"""An operator takes a lock from a saga: the next in line gets it, and the old holder is fenced off."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.utils.timezone import now

from sagas import operations
from sagas.attempts import Call
from sagas.driver import drain_due
from sagas.engine import record, work
from sagas.exceptions import StaleVersion
from sagas.models import Operation, SagaInstance, SemanticLock
from sagas.selectors import waiting_words
from tests.racing import race
from tests.sagas.conftest import begin_call
from tests.sagas.operating import ask, do, refused
from tests.sagas.plans import World, effects
from tests.sagas.rows import outcomes, snapshot, step_of
from tests.sagas.test_locks import FAR, begin, held, in_line, status
from tests.sagas.test_signals import outcome_of_audit

RULES_HOLD: tuple[list[str], list[str]] = ([], [])


def paused(world: World, operator: User, number: str = "T1") -> SagaInstance:
    """A saga that holds the accounts A and B, and stands still before its call."""
    saga = begin(number)
    do("pause", saga, ask(operator, saga))
    return saga


def release(saga: SagaInstance, operator: User, lock: str = "account A") -> Operation:
    return do("release", saga, ask(operator, saga), lock=lock)


# --- what becomes of the lock -----------------------------------------------------------------------


def test_the_next_in_line_gets_the_lock_in_that_commit_and_goes_on(world: World, operator: User):
    saga = paused(world, operator)
    begin("T2", source="A", target="C")
    begin("T3", source="A", target="D")
    generation = saga.generation

    done = release(saga, operator)

    assert held() == {"A": "T2", "B": "T1"}
    assert in_line() == [("A", "T3")]
    saga.refresh_from_db()
    assert saga.generation > generation
    assert (done.detail, saga.status) == ({"lock": "account A"}, "SUSPENDED")
    drain_due()
    assert (status("T2"), status("T3")) == ("COMPLETED", "COMPLETED")
    assert outcome_of_audit() == RULES_HOLD


def test_what_a_saga_kept_beyond_its_end_goes_to_the_next_in_line(world: World, operator: User):
    """No code of today leaves that behind, but older code may have."""
    saga = begin("T1")
    drain_due()
    SemanticLock.objects.create(resource_type="account", resource_id="A", saga=saga, taken_at=now())
    begin("T2")

    release(saga, operator)
    drain_due()

    assert (status("T1"), status("T2"), held()) == ("COMPLETED", "COMPLETED", {})
    assert outcome_of_audit() == RULES_HOLD


def test_a_lock_that_nobody_waits_for_is_free_and_taken_again_by_a_saga_that_is_resumed(world: World, operator: User):
    saga = paused(world, operator)
    release(saga, operator)
    assert held() == {"B": "T1"}

    do("resume", saga, ask(operator, saga))
    drain_due()

    assert status("T1") == "COMPLETED"
    assert held() == {}
    assert outcome_of_audit() == RULES_HOLD


def test_a_resumed_saga_does_nothing_before_it_has_its_lock_again(world: World, operator: User):
    saga = paused(world, operator)
    release(saga, operator)
    world.raises("move_money", FAR)
    other = begin("T2", source="A", target="C")
    drain_due()
    assert status("T2") == "WAITING"

    do("resume", saga, ask(operator, saga))
    drain_due()

    saga.refresh_from_db()
    assert (saga.status, waiting_words(saga)) == ("WAITING", "Waits until account A is free.")
    assert (in_line(), effects("T1")) == ([("A", "T1")], [])
    assert world.calls["move_money"] == 1
    assert outcome_of_audit() == RULES_HOLD
    do("retry", other, ask(operator, other))
    drain_due()
    assert (status("T1"), status("T2")) == ("COMPLETED", "COMPLETED")


def test_a_saga_that_did_something_waits_for_its_lock_on_the_way_back_as_well(world: World, operator: User):
    world.raises("move_money", FAR)
    saga = begin("T1")
    drain_due()
    do("pause", saga, ask(operator, saga))
    release(saga, operator)
    world.raises("move_money", FAR)
    other = begin("T2", source="A", target="C")
    drain_due()

    do("compensate", saga, ask(operator, saga))
    drain_due()

    saga.refresh_from_db()
    assert (saga.status, saga.waiting_on["kind"], effects("T1")) == ("COMPENSATING", "lock", [])
    assert outcome_of_audit() == RULES_HOLD
    do("retry", other, ask(operator, other))
    drain_due()
    assert (status("T1"), effects("T1")) == ("COMPENSATED", ["forgotten"])
    assert outcome_of_audit() == RULES_HOLD


def test_a_lock_that_was_given_back_by_the_plan_is_not_taken_again(world: World, operator: User):
    world.raises("tell_owner", FAR)
    saga = begin("T1")
    drain_due()
    assert held() == {"B": "T1"}
    do("pause", saga, ask(operator, saga))
    release(saga, operator, "account B")
    world.raises("move_money", FAR)
    begin("T2", source="A", target="C")
    drain_due()
    assert held() == {"A": "T2", "C": "T2"}

    do("resume", saga, ask(operator, saga))
    do("retry", saga, ask(operator, saga))
    drain_due()

    assert status("T1") == "COMPLETED"


def test_the_operator_is_told_who_has_the_lock_now(world: World, operator: User):
    alone = paused(world, operator)
    free = release(alone, operator)
    rest = "An operator paused it. Before it goes on it needs account A."
    assert operations.follow(free, seconds=0) == f"account A is free now. {rest}"

    do("resume", alone, ask(operator, alone))
    do("pause", alone, ask(operator, alone))
    begin("T2", source="A", target="C")
    handed = release(alone, operator)

    assert operations.follow(handed, seconds=0) == f"account A is held by test.transfer T2 now. {rest}"


# --- what becomes of the old holder -----------------------------------------------------------------


@pytest.fixture
def accounts(world: World) -> Iterator[None]:
    """Rows that only who holds them may change: the database sees to it."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE test_account (name text, owner text)")
        cursor.execute("INSERT INTO test_account VALUES ('A', ''), ('B', '')")
        cursor.execute(
            "CREATE TRIGGER test_account_belongs_to_its_saga BEFORE UPDATE OR DELETE ON test_account "
            "FOR EACH ROW EXECUTE FUNCTION sagas_refuse_unless_holder('account', 'name')"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE test_account")


def write_to_account(name: str, saga_id: UUID) -> None:
    """A write in the name of a saga, as its steps write."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('sagas.holder', %s, true)", [str(saga_id)])
        cursor.execute("UPDATE test_account SET owner = %s WHERE name = %s", [str(saga_id), name])


def test_the_database_refuses_the_old_holder_s_writes_and_takes_the_new_one_s(
    world: World, operator: User, accounts: None
):
    saga = paused(world, operator)
    other = begin("T2", source="A", target="C")
    write_to_account("A", saga.pk)

    release(saga, operator)

    with pytest.raises(OperationalError, match="is held by saga"):
        write_to_account("A", saga.pk)
    write_to_account("A", other.pk)
    write_to_account("B", saga.pk)


def call_under_way(
    operator: User, number: str = "T1", source: str = "A", target: str = "B"
) -> tuple[SagaInstance, Call]:
    """A saga that was paused while its call is made."""
    saga = begin(number, source=source, target=target)
    call = begin_call(saga)
    do("pause", saga, ask(operator, saga))
    return saga, call


def test_an_answer_that_comes_after_the_release_is_not_the_saga_s_any_more(world: World, operator: User):
    saga, call = call_under_way(operator)
    outcome = call.make()

    release(saga, operator)

    before = snapshot(saga)
    assert record(call, outcome) is None
    assert snapshot(saga) == before
    assert (step_of(saga, "move_money").action, outcomes(saga, "move_money")) == ("UNKNOWN", ["LEASE_OVER"])
    assert saga.attempts.get().message == "an operator waited for it no longer"
    assert outcome_of_audit() == RULES_HOLD
    do("resume", saga, ask(operator, saga))
    drain_due()
    assert (status("T1"), len(world.sent)) == ("COMPLETED", 1)


@pytest.mark.parametrize("round_", range(6))
def test_of_a_release_and_the_holder_s_own_commit_one_comes_first(world: World, operator: User, round_: int):
    saga, call = call_under_way(operator)
    outcome, request = call.make(), ask(operator, saga)

    released, recorded = race([lambda: do("release", saga, request, lock="account A"), lambda: record(call, outcome)])

    if isinstance(released, Operation):
        assert recorded is None
        assert (held(), step_of(saga, "move_money").action) == ({"B": "T1"}, "UNKNOWN")
    else:
        assert isinstance(released, StaleVersion)
        assert recorded is not None
        assert (held(), step_of(saga, "move_money").action) == ({"A": "T1", "B": "T1"}, "SUCCEEDED")
    assert outcome_of_audit() == RULES_HOLD


@pytest.mark.parametrize("round_", range(6))
def test_of_a_release_and_a_resume_one_comes_first(world: World, operator: User, round_: int):
    saga = paused(world, operator)
    requests = [ask(operator, saga), ask(operator, saga)]

    def resume_and_work() -> None:
        operations.resume(saga.pk, requests[1])
        work(saga.pk)

    released, resumed = race([lambda: do("release", saga, requests[0], lock="account A"), resume_and_work])

    assert [isinstance(result, StaleVersion) for result in (released, resumed)].count(True) == 1
    assert held() == ({"B": "T1"} if isinstance(released, Operation) else {"A": "T1", "B": "T1"})


# --- when it is refused -----------------------------------------------------------------------------


def test_no_lock_is_taken_from_a_saga_that_moves(world: World, operator: User):
    saga = begin("T1")

    error = refused("release", saga, ask(operator, saga), lock="account A")

    assert str(error) == "The saga moves and relies on its locks; pause it first."
    assert held() == {"A": "T1", "B": "T1"}


@pytest.mark.parametrize("lock", ["account C", "account", ""])
def test_what_the_saga_does_not_hold_is_not_taken_from_it(world: World, operator: User, lock: str):
    saga = paused(world, operator)
    begin("T2", source="C", target="D")

    error = refused("release", saga, ask(operator, saga), lock=lock)

    assert str(error) == f"This saga does not hold {lock}."
    assert held() == {"A": "T1", "B": "T1", "C": "T2", "D": "T2"}
