"""Small plans for the engine's tests, and a world outside the database that keeps its own ledger.

Local effects are rows of a table of their own; what the outside world did stands in `World`, which
survives any rollback, as a bank's books do.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock as ThreadLock
from typing import Any

from django.db import connection

from sagas.definition import (
    Await,
    AwaitPerson,
    Begin,
    Context,
    Lock,
    NoCompensation,
    Parallel,
    Pivot,
    RemoteStep,
    Retry,
    Saga,
    Sleep,
    Step,
    minutes,
    remote,
    seconds,
)
from sagas.outcomes import CannotTell, CheckAnswer, Happened, Refused


@dataclass(frozen=True)
class TripData:
    number: str
    wish: str = ""


@dataclass(frozen=True)
class Ticket:
    code: str


@dataclass
class World:
    """The outside: what was booked under which key, and what it answers next."""

    booked: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    script: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    mutex: ThreadLock = field(default_factory=ThreadLock)

    def before(self, name: str) -> None:
        """Count the call and play the next scripted accident before it has an effect."""
        with self.mutex:
            self.calls[name] += 1
            accident = self.script.get(name, []) and self.script[name].pop(0)
        if accident:
            accident()

    def raises(self, name: str, *errors: Exception) -> None:
        """Let the next calls of ``name`` raise these, one a call."""

        def thrower(error: Exception) -> Callable[[], None]:
            def throw() -> None:
                raise error

            return throw

        self.script.setdefault(name, []).extend(thrower(error) for error in errors)

    def does(self, name: str, accident: Callable[[], None]) -> None:
        """Let the next call of ``name`` run this first."""
        self.script.setdefault(name, []).append(accident)


world = World()

Ctx = Context[TripData]


def effect(ctx: Context[Any], what: str) -> None:
    """A local effect; the unique row says so if it happens twice."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO test_effect (key, what) VALUES (%s, %s)", [ctx.key, what])


def take_back(ctx: Context[Any], what: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM test_effect WHERE key = %s AND what = %s", [ctx.key, what])


def effects(key: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT what FROM test_effect WHERE key = %s ORDER BY what", [key])
        return [row[0] for row in cursor.fetchall()]


def ask_for_trip(number: str) -> tuple[str, int]:
    """Stands for the service that stores the trip and starts the saga; what it returns is no receipt."""
    return number, 1


def forget_trip(ctx: Ctx, receipt: None) -> None:
    world.before("forget_trip")
    effect(ctx, "forgotten")


def reserve_seat(ctx: Ctx) -> Ticket:
    world.before("reserve_seat")
    effect(ctx, "seat")
    return Ticket(f"seat-{ctx.data.number}")


def release_seat(ctx: Ctx, receipt: Ticket | None) -> None:
    world.before("release_seat")
    assert receipt is not None
    assert receipt.code == f"seat-{ctx.data.number}"
    take_back(ctx, "seat")


def note_booking(ctx: Ctx) -> str:
    world.before("note_booking")
    return ctx.data.number


def keep_ticket(ctx: Ctx, receipt: Ticket) -> None:
    world.before("keep_ticket")
    effect(ctx, f"ticket {receipt.code}")


@remote(prepare=note_booking, record=keep_ticket)
def book_flight(ctx: Ctx, request: str) -> Ticket:
    assert request == ctx.data.number
    world.before("book_flight")
    assert not connection.in_atomic_block
    with world.mutex:
        code = world.booked.setdefault(ctx.idempotency_key, f"flight-{len(world.booked)}")
    world.before("book_flight answer")
    return Ticket(code)


def find_flight(ctx: Ctx, request: str) -> CheckAnswer[Ticket]:
    world.before("find_flight")
    if ctx.idempotency_key in world.booked:
        return Happened(Ticket(world.booked[ctx.idempotency_key]))
    return CannotTell("not found, but it may be on its way")


def drop_ticket(ctx: Ctx, receipt: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM test_effect WHERE key = %s AND what LIKE 'ticket%%'", [ctx.key])


@remote(record=drop_ticket)
def cancel_flight(ctx: Ctx, receipt: Ticket | None) -> None:
    world.before("cancel_flight")
    world.cancelled.add(ctx.idempotency_key.replace(":compensation", ":action"))


def reserve_hotel(ctx: Ctx) -> None:
    world.before("reserve_hotel")
    effect(ctx, "hotel")


def release_hotel(ctx: Ctx, receipt: None) -> None:
    world.before("release_hotel")
    take_back(ctx, "hotel")


def pay(ctx: Ctx) -> None:
    world.before("pay")
    assert ctx.receipt_of(reserve_seat).code == f"seat-{ctx.data.number}"
    effect(ctx, "paid")


@remote()
def send_papers(ctx: Ctx, request: None) -> None:
    world.before("send_papers")
    world.sent.add(ctx.idempotency_key)


soon = Retry(attempts=3, first=seconds(0.001), cap=seconds(0.002))


class Trip(Saga[TripData]):
    name, version = "test.trip", 1
    deadline = minutes(10)
    locks = (Lock[TripData]("trip", lambda data: data.number),)
    steps = (
        Begin(ask_for_trip, compensation=forget_trip),
        Step(reserve_seat, compensation=release_seat, retry=soon),
        Parallel(
            Step(reserve_hotel, compensation=release_hotel, retry=soon),
            RemoteStep(book_flight, compensation=cancel_flight, check=find_flight, retry=soon, timeout=seconds(2)),
        ),
        Pivot(pay, retry=soon),
        RemoteStep(send_papers, retry=soon, timeout=seconds(2)),
    )


@dataclass(frozen=True)
class Parcel:
    weight: int


def ask_for_return(number: str) -> None:
    """Stands for the service that starts the saga."""


def parcel_back(ctx: Ctx, parcel: Parcel) -> Parcel:
    world.before("parcel_back")
    effect(ctx, f"parcel {parcel.weight}")
    return parcel


def inspection(ctx: Ctx, verdict: str) -> str:
    world.before("inspection")
    if verdict == "broken":
        raise Refused("broken", "the goods are broken")
    return verdict


def cool_off(ctx: Ctx) -> None:
    effect(ctx, "cooled off")


def give_money_back(ctx: Ctx) -> None:
    assert ctx.receipt_of(inspection) == "good"
    effect(ctx, f"refunded for {ctx.receipt_of(parcel_back).weight}")


class Return(Saga[TripData]):
    name, version = "test.return", 1
    steps = (
        Begin(ask_for_return, reads_only=True),
        Await(parcel_back, within=minutes(60), no_compensation=NoCompensation.ACCEPT),
        AwaitPerson(inspection, within=minutes(10), reads_only=True),
        Sleep(cool_off, within=minutes(5), no_compensation=NoCompensation.ACCEPT),
        Pivot(give_money_back),
    )


@dataclass(frozen=True)
class TransferData:
    number: str
    source: str
    target: str


def ask_for_transfer(number: str) -> None:
    """Stands for the service that starts the saga."""


def forget_transfer(ctx: Context[TransferData], receipt: None) -> None:
    effect(ctx, "forgotten")


@remote()
def move_money(ctx: Context[TransferData], request: None) -> None:
    world.before("move_money")
    world.sent.add(ctx.idempotency_key)


def settle(ctx: Context[TransferData]) -> None:
    world.before("settle")
    effect(ctx, "settled")


def tell_owner(ctx: Context[TransferData]) -> None:
    world.before("tell_owner")


class Transfer(Saga[TransferData]):
    name, version = "test.transfer", 1
    locks = (
        Lock[TransferData]("account", lambda data: data.target),
        Lock[TransferData]("account", lambda data: data.source, release_after=settle),
    )
    steps = (
        Begin(ask_for_transfer, compensation=forget_transfer),
        RemoteStep(move_money, no_compensation=NoCompensation.ACCEPT, retry=soon, timeout=seconds(2)),
        Pivot(settle, retry=soon),
        Step(tell_owner, retry=soon),
    )
