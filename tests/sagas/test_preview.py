"""What turning back would come to, tried out and rolled back; and what a retry would meet."""

import threading
from datetime import timedelta
from itertools import pairwise

import pytest
from django.core import mail
from django.db import connection, transaction
from django_rq import get_queue

from sagas import hooks, outlook, preview
from sagas.driver import drain_due
from sagas.exceptions import OperationRefused
from sagas.models import SagaInstance
from sagas.outcomes import Refused, Transient, Unknown
from sagas.preview import Difference
from tests.sagas import plans
from tests.sagas.conftest import begin_call, begin_trip, run_trip
from tests.sagas.operating import HOUR, saga_for
from tests.sagas.plans import World, effects
from tests.sagas.rows import held, snapshot

SHOW = """
    CREATE TRIGGER shown_in_a_dry_run AFTER INSERT OR UPDATE OR DELETE ON test_effect FOR EACH ROW
    WHEN (current_setting('sagas.dry_run', true) = 'on') EXECUTE FUNCTION sagas_note_change()
"""


@pytest.fixture
def trip(world: World) -> SagaInstance:
    """A trip that is booked and would be paid next; its flight is booked at an airline that is asked nothing now."""
    world.raises("pay", HOUR)
    saga = begin_trip()
    drain_due()
    with connection.cursor() as cursor:
        cursor.execute(SHOW)
    saga.refresh_from_db()
    world.calls.clear()
    return saga


def rows_of(undone: preview.Undone) -> list[tuple[str, str, list[str]]]:
    return [
        (change.table, change.kind, sorted(d.before or d.after for d in change.differences))
        for change in undone.changes
    ]


def test_the_way_back_is_shown_with_each_row_that_it_changes_and_each_call(trip: SagaInstance) -> None:
    found = preview.way_back(trip.pk)

    assert [(undone.compensation, rows_of(undone)) for undone in found.undone] == [
        ("release_hotel", [("test_effect", "gone", ["T1", "hotel"])]),
        ("cancel_flight", [("test_effect", "gone", ["T1", "ticket flight-0"])]),
        ("release_seat", [("test_effect", "gone", ["T1", "seat"])]),
        ("forget_trip", [("test_effect", "new", ["T1", "forgotten"])]),
    ]
    calls = [(undone.compensation, undone.call.key) for undone in found.undone if undone.call]
    assert calls == [("cancel_flight", f"{trip.pk}:book_flight:compensation")]
    assert (found.ends_as, found.stopped, found.locks) == ("COMPENSATED", "", ["trip T1"])


def test_nothing_of_it_stays_and_nobody_outside_is_called(trip: SagaInstance, world: World) -> None:
    before, rows, booked = snapshot(trip), effects("T1"), dict(world.booked)
    world.does(
        "forget_trip", lambda: transaction.on_commit(lambda: mail.send_mail("undone", "", None, ["ada@example.org"]))
    )
    queue = get_queue("sagas")
    queue.empty()

    preview.way_back(trip.pk)

    assert (snapshot(trip), effects("T1"), world.booked, world.cancelled) == (before, rows, booked, set())
    assert world.calls["cancel_flight"] == 0
    assert world.calls["forget_trip"] == 1, "it was tried"
    assert (mail.outbox, queue.count) == ([], 0)
    assert connection.run_on_commit == []


def test_a_row_that_is_changed_twice_is_shown_once_from_now_to_then(trip: SagaInstance, world: World) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE test_effect ADD COLUMN id serial")
    world.does("release_seat", lambda: rename("seat", "a chair", "seat"))

    found = preview.way_back(trip.pk)
    assert found.stopped == ""
    seat = next(undone for undone in found.undone if undone.compensation == "release_seat")
    (change,) = seat.changes
    assert (change.kind, change.differences[-1]) == ("gone", Difference("what", "seat", ""))


def rename(*names: str) -> None:
    with connection.cursor() as cursor:
        for before, after in pairwise(names):
            cursor.execute("UPDATE test_effect SET what = %s WHERE what = %s", [after, before])


def test_a_compensation_that_does_not_work_now_is_named_with_what_it_says(trip: SagaInstance, world: World) -> None:
    world.raises("release_seat", Refused("kept", "the airline keeps the seat"))

    found = preview.way_back(trip.pk)

    assert [undone.compensation for undone in found.undone] == ["release_hotel", "cancel_flight"]
    assert found.stopped == "The compensation of reserve_seat does not work now: the airline keeps the seat"
    assert found.ends_as == ""


def test_a_call_under_way_is_taken_for_unknown(world: World) -> None:
    saga = begin_trip()
    begin_call(saga)

    found = preview.way_back(saga.pk)

    assert found.assumed_unknown == ["book_flight"]
    assert "cancel_flight" in [undone.compensation for undone in found.undone]
    assert found.ends_as == "COMPENSATED"


def test_what_cannot_be_turned_back_has_no_way_back(world: World) -> None:
    saga = run_trip()

    with pytest.raises(OperationRefused, match="it has ended: COMPLETED"):
        preview.way_back(saga.pk)


def test_beside_a_worker_there_is_no_preview_and_no_waiting(trip: SagaInstance) -> None:
    with held(trip), pytest.raises(OperationRefused, match="A worker is at this saga right now"):
        preview.way_back(trip.pk)


def test_a_row_that_somebody_else_is_at_stops_the_dry_run_and_not_them(trip: SagaInstance) -> None:
    taken, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT FROM test_effect WHERE what = 'seat' FOR UPDATE")
                taken.set()
                let_go.wait(30)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(30)
    try:
        found = preview.way_back(trip.pk)
    finally:
        let_go.set()
        holder.join()

    assert found.stopped == "reserve_seat needs a row that somebody else is at right now; load the page again."


# --- what a retry would meet -----------------------------------------------------------------------


def test_the_outlook_tells_how_often_this_failed_the_same_way_today(world: World) -> None:
    world.raises("book_flight", HOUR, HOUR, Transient("on strike", timedelta(hours=1)))
    sagas = [begin_trip(number) for number in ("T1", "T2", "T3")]
    drain_due()
    world.raises("reserve_seat", KeyError("x"))
    begin_trip("T4")
    drain_due()

    (step,) = outlook.outlook(sagas[0].pk)

    assert (step.step, step.last_outcome, step.alike_today, step.sagas_today) == ("book_flight", "TRANSIENT", 3, 3)
    sagas[1].attempts.filter(step="book_flight").update(started_at="2020-01-01T00:00Z")
    assert outlook.outlook(sagas[0].pk)[0].alike_today == 2


def test_the_outlook_tells_that_a_service_cannot_be_called_now(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    saga = saga_for(world, "retry")
    monkeypatch.setattr(plans.book_flight, "service", "airline")
    assert outlook.outlook(saga.pk)[0].why_not == ""

    monkeypatch.setitem(hooks._services, "airline", lambda: "The circuit to the airline is open.")

    assert outlook.outlook(saga.pk)[0].why_not == "The circuit to the airline is open."


def test_the_other_side_is_asked_for_the_key_outside_of_any_transaction(world: World) -> None:
    saga = saga_for(world, "resolve")
    world.booked[f"{saga.pk}:book_flight:action"] = "F7"
    world.script["find_flight"] = []
    world.does("find_flight", lambda: None if not connection.in_atomic_block else pytest.fail("in a transaction"))
    before = snapshot(saga)

    answer = outlook.ask(saga.pk, "book_flight")

    assert (answer.kind, answer.receipt, answer.request) == ("HAPPENED", {"code": "F7"}, "T1")
    assert answer.key == f"{saga.pk}:book_flight:action"
    assert snapshot(saga) == before


def test_an_answer_that_does_not_help_is_told_in_words(world: World) -> None:
    saga = saga_for(world, "resolve")
    world.script["find_flight"] = []
    assert (
        outlook.ask(saga.pk, "book_flight").words == "The other side cannot tell: not found, but it may be on its way"
    )

    world.raises("find_flight", Unknown("the line is dead"))
    assert outlook.ask(saga.pk, "book_flight").words == "No answer that helps: the line is dead"


def test_who_does_not_answer_is_waited_for_only_so_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    saga = saga_for(world, "resolve")
    monkeypatch.setattr(outlook, "ASK_FOR", timedelta(seconds=-0.9))
    over = threading.Event()
    world.script["find_flight"] = []
    world.does("find_flight", lambda: over.wait(30) and None)

    answer = outlook.ask(saga.pk, "book_flight")
    over.set()

    assert answer.kind == "NO_ANSWER"


@pytest.mark.parametrize(("step", "why"), [("reserve_seat", "no check"), ("pay", "no check"), ("x", "no step 'x'")])
def test_where_there_is_nothing_to_ask_that_is_said(world: World, step: str, why: str) -> None:
    saga = saga_for(world, "retry")

    with pytest.raises(OperationRefused, match=why):
        outlook.ask(saga.pk, step)
