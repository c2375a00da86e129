"""A remote step is two commits round a call: what is known when one of the three fails."""

import threading
from datetime import timedelta
from time import sleep

import pytest
from django.db import IntegrityError, OperationalError, connection

from sagas.attempts import LEASE_MARGIN
from sagas.definition import Pivot, RemoteStep, Retry, remote, seconds
from sagas.driver import RECORD_AGAIN, drain_due
from sagas.engine import Moved, record, work
from sagas.outcomes import CannotTell, DidNotHappen, Happened, Refused, Transient, Unknown
from tests.sagas.conftest import begin, begin_call, begin_trip, run_saga, run_trip
from tests.sagas.plans import Ticket, World, effect, effects, soon
from tests.sagas.rows import end_backoff, moves, outcomes, statuses, step_of

# --- the commit before the call -------------------------------------------------------------------


def test_a_call_is_not_made_when_its_preparation_fails(world: World):
    world.raises("note_booking", KeyError("x"))

    saga = run_trip()

    assert outcomes(saga, "book_flight") == ["BUG", "DONE"]
    assert world.calls["book_flight"] == 1
    assert moves(saga, "action", "book_flight")[0] == ("PENDING", "WAITING"), "it was never under way"


def test_a_preparation_that_refuses_turns_back_and_rolls_back(world: World):
    def refuse():
        effect_of_preparation()
        raise Refused("no", "no")

    def effect_of_preparation():
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO test_effect VALUES ('T1', 'prepared')")

    world.does("note_booking", refuse)

    saga = run_trip()

    assert (saga.status, saga.failure["step"]) == ("COMPENSATED", "book_flight")
    assert world.calls["book_flight"] == 0
    assert "prepared" not in effects("T1")


def test_a_preparation_that_refuses_later_does_not_hide_that_the_call_may_have_happened(world: World):
    world.raises("book_flight answer", Unknown("cut"))
    world.does("note_booking", lambda: None)
    world.raises("note_booking", *[Refused("no", "the flight is closed")] * 9)

    saga = run_trip()

    assert outcomes(saga, "book_flight") == ["UNKNOWN", "REFUSED", "REFUSED"]
    assert (saga.status, step_of(saga, "book_flight").action) == ("COMPENSATED", "UNKNOWN")
    assert world.cancelled == set(world.booked), "what may have been booked is cancelled"


def test_the_call_gets_what_its_preparation_returned_and_a_compensation_its_receipt(world: World, define):
    got = []

    @remote(prepare=lambda ctx: {"asks": ctx.data.number})
    def book(ctx, request) -> Ticket:
        got.append(request)
        return Ticket("A7")

    @remote(prepare=lambda ctx, receipt: f"cancel {receipt.code}")
    def unbook(ctx, request) -> None:
        got.append(request)

    def refuse(ctx) -> None:
        raise Refused("no", "no")

    run_saga(define(RemoteStep(book, compensation=unbook), Pivot(refuse)))

    assert got == [{"asks": "T1"}, "cancel A7"]


def test_a_compensation_without_preparation_gets_the_receipt_itself_or_nothing(world: World, define):
    got = []

    @remote()
    def book(ctx, request) -> Ticket:
        if ctx.data.number == "lost":
            raise Unknown("cut")
        return Ticket("A7")

    @remote()
    def unbook(ctx, request) -> None:
        got.append(request)

    def refuse(ctx) -> None:
        raise Refused("no", "no")

    plan = define(RemoteStep(book, compensation=unbook, retry=soon), Pivot(refuse))
    run_saga(plan, "kept")
    run_saga(plan, "lost")

    assert got == [Ticket("A7"), None]


# --- the call itself ------------------------------------------------------------------------------


def test_no_transaction_and_no_lock_is_held_during_a_call(world: World, define):
    seen = []

    @remote()
    def look(ctx, request) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
            cursor.execute("SELECT status FROM sagas_sagainstance FOR UPDATE NOWAIT")
            row = cursor.fetchone()
            cursor.execute("SELECT pid, xact_start FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'")
            idle = cursor.fetchall()
            # The driver looks for work meanwhile: a transaction of its own each time, and none that lasts.
            sleep(0.2)
            cursor.execute("SELECT pid, xact_start FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'")
            seen.append((connection.in_atomic_block, row, set(idle) & set(cursor.fetchall())))

    saga = run_saga(define(RemoteStep(look, reads_only=True)))

    assert saga.status == "COMPLETED"
    assert seen == [(False, ("RUNNING",), set())]


def test_calls_are_made_on_other_threads_and_many_at_a_time(world: World, define):
    barrier = threading.Barrier(8)

    @remote()
    def meet(ctx, request) -> None:
        barrier.wait(timeout=30)

    plan = define(RemoteStep(meet, reads_only=True, timeout=seconds(6)))
    sagas = [begin(plan, f"T{number}") for number in range(8)]

    drain_due()

    for saga in sagas:
        saga.refresh_from_db()
        assert saga.status == "COMPLETED"


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        ValueError("x"),
        type("Mute", (Exception,), {"__str__": lambda self: 1 / 0})(),
    ],
    ids=lambda e: type(e).__name__,
)
def test_whatever_a_call_raises_its_outcome_is_unknown_and_the_worker_lives(world: World, error):
    world.raises("book_flight answer", error)

    saga = run_trip()

    assert outcomes(saga, "book_flight") == ["BUG", "DONE"]
    assert ("RUNNING", "UNKNOWN") in moves(saga, "action", "book_flight")
    assert saga.status == "COMPLETED"
    assert len(world.booked) == 1


def test_a_call_that_outlasts_its_lease_does_not_take_the_worker_away(world: World, define, monkeypatch, caplog):
    monkeypatch.setattr("sagas.attempts.LEASE_MARGIN", seconds(0))
    wake_up = threading.Event()

    @remote()
    def hang(ctx, request) -> None:
        wake_up.wait(timeout=20)

    saga = begin(define(RemoteStep(hang, reads_only=True, timeout=seconds(0.2), retry=Retry(first=seconds(60)))))

    drain_due()  # comes back

    assert not wake_up.is_set()
    assert "has not come back within its lease" in caplog.text
    wake_up.set()
    assert work(saga.pk) == Moved(saga.pk, due=False)
    assert outcomes(saga, "hang") == ["LEASE_OVER"]


def test_no_call_is_begun_for_which_a_hung_one_has_the_thread(world: World, define, monkeypatch, settings):
    settings.SAGAS_CALLS_IN_FLIGHT = 1
    monkeypatch.setattr("sagas.attempts.LEASE_MARGIN", seconds(0))
    wake_up = threading.Event()

    @remote()
    def hang(ctx, request) -> None:
        if ctx.key == "hangs":
            wake_up.wait(timeout=20)

    plan = define(RemoteStep(hang, reads_only=True, timeout=seconds(0.2), retry=Retry(first=seconds(60))))
    begin(plan, "hangs")
    other = begin(plan, "other")

    assert drain_due(), "something is left"
    assert outcomes(other, "hang") == []

    drain_due()
    wake_up.set()
    assert outcomes(other, "hang") == ["DONE"]


def test_a_slow_call_holds_up_nobody(world: World, define):
    @remote()
    def wait(ctx, request) -> None:
        sleep(2)

    slow = begin(define(RemoteStep(wait, reads_only=True)), "slow")
    quick = begin_trip("quick")
    world.does("pay", lambda: slow.refresh_from_db())

    drain_due()

    quick.refresh_from_db()
    slow_ended = type(slow).objects.get(pk=slow.pk).ended_at
    assert quick.ended_at < slow_ended


# --- what the check answers -----------------------------------------------------------------------


def checked(define, answers):
    """A plan of one remote step that is lost at first, whose check then answers so; and what was called."""
    called = []

    @remote()
    def book(ctx, request) -> Ticket:
        called.append("book")
        if called.count("book") == 1:
            raise Unknown("cut")
        return Ticket("second")

    def find(ctx, request):
        called.append("find")
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @remote()
    def unbook(ctx, receipt: Ticket | None) -> None:
        called.append(f"unbook {receipt and receipt.code}")

    return define(RemoteStep(book, compensation=unbook, check=find, retry=soon)), called


def test_what_has_happened_is_not_done_again(world: World, define):
    plan, called = checked(define, [Happened(Ticket("first"))])

    saga = run_saga(plan)

    assert called == ["book", "find"]
    assert step_of(saga, "book").receipt == {"code": "first"}


def test_what_provably_did_not_happen_and_cannot_any_more_turns_back(world: World, define):
    plan, called = checked(define, [DidNotHappen("the key has expired")])

    saga = run_saga(plan)

    assert called == ["book", "find"]
    assert (saga.status, statuses(saga)["book"]) == ("COMPENSATED", ("FAILED", "NOT_NEEDED"))
    assert saga.failure == {"step": "book", "code": "did_not_happen", "message": "the key has expired"}


def test_what_cannot_be_told_is_called_again_with_the_same_key(world: World, define):
    plan, called = checked(define, [CannotTell("not found")])

    saga = run_saga(plan)

    assert called == ["book", "find", "book"]
    assert (saga.status, step_of(saga, "book").receipt) == ("COMPLETED", {"code": "second"})


@pytest.mark.parametrize("answer", [Transient("busy"), Unknown("cut"), KeyError("x"), None, "HAPPENED"])
def test_a_check_that_fails_leaves_the_outcome_unknown_and_calls_nothing(world: World, define, answer):
    plan, called = checked(define, [answer, Happened(Ticket("first"))])

    saga = run_saga(plan)

    assert called == ["book", "find", "find"]
    assert saga.status == "COMPLETED"


def test_a_check_is_not_asked_of_a_step_that_certainly_had_no_effect(world: World):
    world.raises("book_flight", Transient("connection refused"))

    run_trip()

    assert world.calls["find_flight"] == 0


def test_the_lease_of_a_step_that_is_asked_about_covers_the_question_and_the_call(world: World):
    world.raises("book_flight answer", Unknown("cut"))
    saga = begin_trip()
    first = begin_call(saga)
    record(first, first.make())
    end_backoff(saga)

    second = begin_call(saga)

    assert (first.task.settle, first.lease) == (False, seconds(2) + LEASE_MARGIN)
    assert (second.task.settle, second.lease) == (True, 2 * seconds(2) + LEASE_MARGIN)


# --- the commit after the call --------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError("x"), Refused("no", "no"), Transient("busy"), IntegrityError("twice")])
def test_a_result_that_cannot_be_written_down_is_unknown_and_asked_for(world: World, error):
    world.raises("keep_ticket", error)

    saga = run_trip()

    assert outcomes(saga, "book_flight") == ["BUG", "DONE"]
    assert ("RUNNING", "UNKNOWN") in moves(saga, "action", "book_flight")
    assert (world.calls["book_flight"], world.calls["find_flight"]) == (1, 1)
    assert effects("T1") == ["hotel", "paid", "seat", "ticket flight-0"]


def test_what_the_hook_wrote_before_it_raised_is_rolled_back(world: World, define):
    tries = []

    def keep(ctx, receipt) -> None:
        effect(ctx, "kept")
        tries.append(receipt)
        if len(tries) == 1:
            raise KeyError("x")

    @remote(record=keep)
    def book(ctx, request) -> str:
        return "A7"

    saga = run_saga(define(RemoteStep(book, reads_only=True, retry=soon)))

    assert (saga.status, tries, effects("T1")) == ("COMPLETED", ["A7", "A7"], ["kept"])


def test_a_refusal_is_written_down_in_the_commit_that_turns_back(world: World, define):
    def keep_refusal(ctx, refused) -> None:
        effect(ctx, f"refused: {refused.code} {refused.message}")

    @remote(refused=keep_refusal)
    def book(ctx, request) -> None:
        raise Refused("full", "no seat left")

    saga = run_saga(define(RemoteStep(book, reads_only=True)))

    assert (saga.status, effects("T1")) == ("COMPENSATED", ["refused: full no seat left"])


def test_a_hook_that_the_database_fails_does_not_block_other_sagas(world: World):
    """The answer goes to the end of the line, and others are driven before it is tried again."""
    world.raises("keep_ticket", OperationalError("lock timeout"))
    sagas = [begin_trip("T1"), begin_trip("T2")]

    drain_due()

    for saga in sagas:
        saga.refresh_from_db()
        assert saga.status == "COMPLETED"
    first, second = sorted(sagas, key=lambda saga: saga.ended_at)
    assert second.ended_at - first.ended_at > timedelta(seconds=RECORD_AGAIN / 4), "one waited, the other did not"
    assert (world.calls["keep_ticket"], world.calls["book_flight"]) == (3, 2), "nothing is called again for it"
