"""Old and new code on one database: a saga that newer code began is left to it, for ten minutes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.management import call_command
from django.db import connection

from sagas import operations
from sagas.admin.plan_table import places_of
from sagas.api.documents import saga_document
from sagas.audit import audit
from sagas.definition import Pivot, RemoteStep, Saga, Step, registry
from sagas.engine import Moved, record, work
from sagas.models import SagaInstance
from sagas.outcomes import Refused
from sagas.selectors import current_step, waiting_words
from sagas.testing.boundaries import Saboteur
from sagas.testing.workers import Child, drive
from tests.sagas.conftest import begin, begin_call, run
from tests.sagas.operating import ask
from tests.sagas.plans import TripData, World, book_flight, cancel_flight, effect, effects, find_flight, soon, take_back
from tests.sagas.rows import end_lease, make_due, moves, outcomes, statuses

Define = Callable[..., type[Saga[TripData]]]


def one(ctx: Any) -> None:
    effect(ctx, "one")


def undo_one(ctx: Any, receipt: None) -> None:
    take_back(ctx, "one")


def two(ctx: Any) -> None:
    effect(ctx, "two")


def say_no(ctx: Any) -> None:
    raise Refused("refused", "no")


ONE, TWO, NO = (Step(one, compensation=undo_one, retry=soon), Pivot(two), Pivot(say_no))


@contextmanager
def older_code(*lacks: int) -> Iterator[None]:
    """As on a worker that was not deployed yet: it does not know these versions."""
    plans = {("test.own", version): registry.pop(("test.own", version)) for version in lacks}
    try:
        yield
    finally:
        registry.update(plans)


def begun(define: Define, *steps: Any) -> SagaInstance:
    """A saga of version 2; an old worker knows version 1."""
    define(ONE, TWO)
    return begin(define(*steps, version=2))


def look_again(saga: SagaInstance) -> None:
    make_due(saga)
    assert work(saga.pk) == Moved(saga.pk, due=False)
    saga.refresh_from_db()


def test_older_code_leaves_a_saga_to_the_workers_that_know_its_plan(world: World, define: Define):
    saga = begun(define, ONE, TWO)

    with older_code(2):
        assert work() == Moved(saga.pk, due=False)
        assert work() is None, "it steps back for a moment"
        assert audit().violations == ()

    saga.refresh_from_db()
    assert (saga.status, saga.steps.count(), effects("T1")) == ("WAITING", 0, [])
    assert saga.wake_at is not None
    assert timedelta(0) < saga.wake_at - datetime.now(UTC) < timedelta(seconds=5)
    assert waiting_words(saga).startswith("Waits for a worker with newer code, which knows its plan, until ")
    assert saga.events.get(after="WAITING").why == "it began under newer code than that of the worker that took it up"

    make_due(saga)
    run()

    saga.refresh_from_db()
    assert (saga.status, effects("T1")) == ("COMPLETED", ["one", "two"])
    assert moves(saga) == [("", "PENDING"), ("PENDING", "WAITING"), ("WAITING", "RUNNING"), ("RUNNING", "COMPLETED")]


def test_a_saga_whose_definition_is_new_is_left_to_them_as_well(world: World, define: Define):
    saga = begin(define(ONE, TWO))

    with older_code(1):
        look_again(saga)
    assert (saga.status, saga.waiting_on and saga.waiting_on["kind"]) == ("WAITING", "code")

    make_due(saga)
    run()

    saga.refresh_from_db()
    assert saga.status == "COMPLETED"


def test_on_its_way_back_it_stays_on_it(world: World, define: Define):
    saga = begun(define, ONE, NO)
    while saga.status != "COMPENSATING":
        work(saga.pk)
        saga.refresh_from_db()

    with older_code(2):
        look_again(saga)
        assert (saga.status, saga.waiting_on and saga.waiting_on["kind"]) == ("COMPENSATING", "code")
        assert audit().violations == ()

    make_due(saga)
    run()

    saga.refresh_from_db()
    assert (saga.status, effects("T1")) == ("COMPENSATED", [])


def test_when_nobody_with_its_plan_came_in_time_a_person_has_to_look(world: World, define: Define):
    """The deploy was taken back, and what it had begun is left."""
    saga = begun(define, ONE, TWO)

    with older_code(2):
        for _ in range(3):
            look_again(saga)
        until = datetime.fromisoformat(saga.waiting_on["until"]) - saga.created_at
        assert timedelta(minutes=10) <= until < timedelta(minutes=10, seconds=30), "counted from the first look"
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE sagas_sagainstance SET waiting_on = jsonb_set(waiting_on, '{until}', to_jsonb(now()))"
            )
        look_again(saga)

    assert (saga.status, saga.suspend_reason, saga.wake_at) == ("SUSPENDED", "DEFINITION_MISMATCH", None)
    assert saga.waiting_on is None


def test_a_plan_that_is_no_older_and_does_not_fit_stops_the_saga_at_once(world: World, define: Define):
    saga = begin(define(ONE, TWO))
    work(saga.pk)
    define(TWO, version=2)
    del registry["test.own", 1]

    work(saga.pk)

    saga.refresh_from_db()
    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "DEFINITION_MISMATCH")


def test_a_call_whose_lease_an_old_worker_finds_over_still_brings_its_answer(world: World, define: Define):
    booking = RemoteStep(book_flight, compensation=cancel_flight, check=find_flight)
    saga = begun(define, booking, TWO)
    call = begin_call(saga)
    end_lease(saga)

    with older_code(2):
        look_again(saga)
    assert statuses(saga)["book_flight"] == ("RUNNING", "NOT_NEEDED"), "it does not know what that lease means"
    assert record(call, call.make()) is not None
    run()

    saga.refresh_from_db()
    assert (saga.status, outcomes(saga, "book_flight")) == ("COMPLETED", ["DONE"])


def test_old_and_new_workers_share_the_work_and_nobody_is_bothered(world: World, define: Define):
    """Processes of their own, in turns, as while a deploy goes on."""
    v1, v2 = define(ONE, TWO), define(ONE, TWO, version=2)
    for nth in range(6):
        begin(v1 if nth % 2 else v2, f"T{nth}")

    with older_code(2):
        old = Child(lambda _: drive(), Saboteur({})).start()
    assert (old.wait(), old.broke) == ("ended", [])
    ends = dict(SagaInstance.objects.values_list("business_key", "status"))
    assert ends == {f"T{nth}": "COMPLETED" if nth % 2 else "WAITING" for nth in range(6)}

    for saga in SagaInstance.objects.filter(status="WAITING"):
        make_due(saga)
    new = Child(lambda _: drive(), Saboteur({})).start()
    assert (new.wait(), new.broke) == ("ended", [])

    assert set(SagaInstance.objects.values_list("status", "attention")) == {("COMPLETED", "")}
    assert all(effects(f"T{nth}") == ["one", "two"] for nth in range(6))
    assert audit().violations == ()


def test_the_command_tells_what_a_saga_waits_for(world: World, define: Define):
    saga = begun(define, ONE, TWO)
    with older_code(2):
        look_again(saga)
    out = StringIO()

    call_command("sagas", "show", "T1", stdout=out)

    assert "Waits for a worker with newer code" in out.getvalue()


def test_the_plan_of_older_code_is_not_shown_as_that_of_the_saga(world: World, define: Define):
    saga = begun(define, ONE, TWO)
    with older_code(2):
        look_again(saga)
        assert places_of(saga) == ([], False)
        assert (saga_document(saga.pk, AnonymousUser())["steps"], current_step(saga)) == ([], "")

    places, known = places_of(saga)
    assert ([row.name for place in places for row in place.steps], known) == (["one", "two"], True)
    assert current_step(saga) == "one"


@pytest.mark.parametrize("name", ["pause", "compensate"])
def test_what_a_person_asks_of_it_is_done_by_code_that_knows_it(world: World, define: Define, operator: Any, name: str):
    saga = begun(define, ONE, TWO)
    with older_code(2):
        look_again(saga)

    getattr(operations, name)(saga.pk, ask(operator, saga))
    run()

    saga.refresh_from_db()
    assert saga.status == ("SUSPENDED" if name == "pause" else "COMPENSATED")
