"""What a failure leaves in the rows, and what it must not."""

import re
from typing import Any

import pytest
from django.db import connection

from sagas.definition import Retry, Step
from sagas.models import SagaInstance, StepAttempt
from sagas.outcomes import Refused, Transient, Unknown
from tests.sagas.conftest import run_saga, run_trip
from tests.sagas.plans import World, soon


def attempt(saga: SagaInstance, step: str, number: int = 1, side: str = "action") -> StepAttempt:
    return saga.attempts.get(step=step, number=number, side=side)


# --- failures -------------------------------------------------------------------------------------


def test_a_failed_attempt_tells_its_class_place_and_traceback(world: World):
    world.raises("book_flight", Transient("connection refused"))

    saga = run_trip()

    row = attempt(saga, "book_flight")
    assert (row.outcome, row.error_class, row.message) == ("TRANSIENT", "Transient", "connection refused")
    assert re.fullmatch("[0-9a-f]{16}", row.fingerprint)
    assert "in book_flight" in row.traceback
    assert attempt(saga, "book_flight", 2).outcome == "DONE"


def test_a_refusal_is_an_answer_and_has_no_traceback(world: World):
    world.raises("pay", Refused("no_money", "not enough money"))

    saga = run_trip()

    row = attempt(saga, "pay")
    assert (row.outcome, row.error_class, row.message, row.traceback) == (
        "REFUSED",
        "Refused",
        "not enough money",
        "",
    )


def test_failures_that_look_alike_share_a_fingerprint(world: World):
    world.raises("book_flight", Transient("busy for 3 s"), Transient("busy for 7 s"))
    one = run_trip("T1")
    world.raises("book_flight", Transient("busy for 9 s"), Unknown("cut"))
    two = run_trip("T2")

    prints = [attempt(saga, "book_flight", number).fingerprint for saga in (one, two) for number in (1, 2)]

    assert len(set(prints[:3])) == 1
    assert prints[3] != prints[0]


def test_all_attempts_of_a_side_have_one_key_and_numbers_in_a_row(world: World):
    world.raises("book_flight", Transient("a"), Unknown("b"))
    world.raises("pay", Refused("no", "no"))
    world.raises("cancel_flight", Transient("c"))

    saga = run_trip()

    rows = saga.attempts.filter(step="book_flight").order_by("side", "number")
    assert [(row.side, row.number, row.outcome, row.idempotency_key) for row in rows] == [
        ("action", 1, "TRANSIENT", f"{saga.pk}:book_flight:action"),
        ("action", 2, "UNKNOWN", f"{saga.pk}:book_flight:action"),
        ("action", 3, "DONE", f"{saga.pk}:book_flight:action"),
        ("compensation", 1, "TRANSIENT", f"{saga.pk}:book_flight:compensation"),
        ("compensation", 2, "DONE", f"{saga.pk}:book_flight:compensation"),
    ]


# --- secrets --------------------------------------------------------------------------------------

SECRETS = "card 4242 4242 4242 4242 of ada@example.org with sk_test_4eC39HqLyjW password=hunter2"
BLOTTED = "card [number] of [e-mail] with [secret] password=[secret]"


def everything_stored() -> str:
    tables = ["saga instance", "saga step", "step attempt", "saga event"]
    with connection.cursor() as cursor:
        text = ""
        for table in tables:
            cursor.execute(f"SELECT row_to_json(t)::text FROM sagas_{table.replace(' ', '')} AS t")
            text += "".join(row[0] for row in cursor.fetchall())
    return text


@pytest.mark.parametrize("error", [Refused("no", SECRETS), Transient(SECRETS), Unknown(SECRETS), ValueError(SECRETS)])
@pytest.mark.parametrize("where", ["reserve_seat", "note_booking", "book_flight", "keep_ticket", "cancel_flight"])
def test_no_secret_of_an_error_is_stored_anywhere(world: World, where, error):
    world.raises(where, error)
    if where == "cancel_flight":
        world.raises("pay", Refused("no", "no"))

    saga = run_trip()

    stored = everything_stored()
    assert world.calls[where] >= 1, "the fault was reached"
    assert BLOTTED in stored
    for secret in ("4242 4242", "ada@", "sk_test", "hunter2"):
        assert secret not in stored
    assert saga.failure is None or saga.failure["message"] in ("no", BLOTTED)


def test_no_value_of_a_variable_is_stored(world: World, define):
    def remember(ctx):
        card = "a secret of " + ctx.data.number
        raise KeyError("x" if card else "")

    run_saga(define(Step(remember, reads_only=True, retry=soon)))

    assert "in remember" in everything_stored()
    assert "a secret of T1" not in everything_stored()


@pytest.mark.parametrize("text", ["a\x00b", "half \udcff", "x" * 100_000])
@pytest.mark.parametrize("where", ["reserve_seat", "book_flight", "keep_ticket"])
def test_a_message_that_cannot_be_stored_does_not_stop_a_saga(world: World, where, text):
    world.raises(where, ValueError(text))

    assert run_trip().status == "COMPLETED"
    assert world.calls[where] == 2


class CardDeclined(Refused):
    """A library's error that was made one of ours, and does not know what ours has to be told."""

    def __init__(self) -> None:
        Exception.__init__(self, "declined")


def never_says() -> Exception:
    return type("Mute", (Exception,), {"__str__": lambda self: 1 / 0})()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Refused("no", ValueError("declined")), "declined"),  # type: ignore[arg-type]
        (Refused(402, None), "None"),  # type: ignore[arg-type]
        (Refused("no", never_says()), "Mute"),  # type: ignore[arg-type]
        (CardDeclined(), ""),
    ],
)
@pytest.mark.parametrize("where", ["reserve_seat", "note_booking", "book_flight"])
def test_a_no_is_a_no_even_if_what_it_says_is_no_text(world: World, where, error, message):
    world.raises(where, error)

    saga = run_trip()

    assert (saga.status, saga.failure["message"]) == ("COMPENSATED", message)
    assert [row.outcome for row in saga.attempts.filter(message=message, fingerprint__gt="")] == ["REFUSED"]


@pytest.mark.parametrize("where", ["reserve_seat", "book_flight"])
def test_another_try_is_made_even_if_what_failed_is_no_text(world: World, where):
    world.raises(where, Transient(ConnectionError("nobody listens")))  # type: ignore[arg-type]

    saga = run_trip()

    assert (saga.status, attempt(saga, where).outcome) == ("COMPLETED", "TRANSIENT")
    assert attempt(saga, where).message == "nobody listens"


def test_an_error_class_with_a_long_name_is_cut(world: World):
    world.raises("book_flight", type("E" * 300, (Exception,), {})("x"))

    saga = run_trip()

    assert saga.status == "COMPLETED"
    assert attempt(saga, "book_flight").error_class == "E" * 200


@pytest.mark.parametrize("levels", [201, 600, 5_000])
@pytest.mark.parametrize("kind", [list, tuple])
def test_a_receipt_that_no_page_could_read_is_not_stored(world: World, define, levels, kind):
    def dig(ctx) -> Any:
        return nested(levels, kind)

    saga = run_saga(define(Step(dig, reads_only=True, retry=Retry(attempts=1))))

    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")
    assert attempt(saga, "dig").message == "NestedTooDeep: It is nested deeper than 200 levels"
    assert saga.steps.get().receipt is None


def test_a_receipt_that_is_nested_as_deep_as_pages_read_is_stored(world: World, define):
    def dig(ctx) -> Any:
        return nested(200)

    saga = run_saga(define(Step(dig, reads_only=True)))

    assert (saga.status, saga.steps.get().receipt) == ("COMPLETED", nested(200))


def nested(levels: int, kind: type = list) -> Any:
    value: Any = "leaf"
    for _ in range(levels):
        value = kind((value,))
    return value
