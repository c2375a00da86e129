"""A bakery of three services: an order is taken, bread is baked, a bill is written. Effects are rows of a table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from sagas.choreography.events import Delivery, event
from sagas.choreography.flows import Flow, Station
from sagas.choreography.outbox import heard, heard_before, publish
from sagas.choreography.subscriptions import subscribe
from sagas.definition import (
    Await,
    Begin,
    Context,
    Lock,
    NoCompensation,
    OnTimeout,
    Retry,
    Saga,
    minutes,
    remote,
    seconds,
)
from sagas.outcomes import CannotTell, CheckAnswer, Refused
from sagas.services import signal, start

Ctx = Context[Delivery]


@event("shop.bread_ordered")
@dataclass(frozen=True)
class BreadOrdered:
    loaves: int


@event("bakery.bread_baked")
@dataclass(frozen=True)
class BreadBaked:
    loaves: int


@event("bakery.bread_refused")
@dataclass(frozen=True)
class BreadRefused:
    code: str


@event("bill.bill_sent")
@dataclass(frozen=True)
class BillSent:
    amount: int


@event("shop.note")
@dataclass(frozen=True)
class Note:
    number: int


@dataclass
class Oven:
    """What the outside does next, and how often it was asked."""

    accidents: dict[str, list[Callable[[], object]]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def next(self, name: str) -> None:
        self.calls.append(name)
        if script := self.accidents.get(name):
            script.pop(0)()


oven = Oven()


def effect(key: str, what: str) -> None:
    """A second row of the same effect breaks the table's unique constraint: an effect twice cannot hide."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO test_effect (key, what) VALUES (%s, %s)", [key, what])


def effects(key: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT what FROM test_effect WHERE key = %s ORDER BY ctid", [key])
        return [what for (what,) in cursor.fetchall()]


def refuse_bread(ctx: Ctx, receipt: None) -> None:
    assert ctx.failure is not None
    publish(BreadRefused(ctx.failure.code), cause=ctx.data)


@subscribe("shop.bread_ordered", otherwise=refuse_bread, retry=Retry(first=seconds(0.001)))
def bake(ctx: Ctx) -> None:
    ordered = heard(ctx).read(BreadOrdered)
    oven.next("bake")
    if ordered.loaves > 10:
        raise Refused("oven_too_small", "the oven holds ten loaves")
    effect(ctx.data.subject, "baked")
    publish(BreadBaked(ordered.loaves), cause=ctx.data)


def price(ctx: Ctx) -> int:
    return 3 * heard_before(ctx, "shop.bread_ordered").read(BreadOrdered).loaves


def note_bill(ctx: Ctx, amount: int) -> None:
    effect(ctx.data.subject, "billed")
    publish(BillSent(amount), cause=ctx.data)


def find_bill(ctx: Ctx, request: int) -> CheckAnswer[int]:
    oven.next("find_bill")
    return CannotTell("the post keeps no list")


@subscribe("bakery.bread_baked", check=find_bill, retry=Retry(first=seconds(0.001)))
@remote(prepare=price, record=note_bill)
def send_bill(ctx: Ctx, amount: int) -> int:
    oven.next("send_bill")
    return amount


@subscribe("shop.note", retry=Retry(first=seconds(0.001)))
def read_note(ctx: Ctx) -> None:
    number = heard(ctx).read(Note).number
    oven.next("read_note")
    effect(ctx.data.subject, f"note {number}")


# --- the flow ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OrderData:
    number: str


@dataclass(frozen=True)
class Ended:
    code: str = ""


def take_order(number: str, loaves: int) -> None:
    with transaction.atomic():
        start(BreadOrder, OrderData(number), key=number)
        publish(BreadOrdered(loaves), subject=number)


def forget_order(ctx: Any, receipt: None) -> None:
    effect(ctx.key, "forgotten")


def hand_over(ctx: Any, ended: Ended) -> None:
    if ended.code:
        raise Refused(ended.code, "there is no bread")
    effect(ctx.key, "handed over")


class BreadOrder(Saga[OrderData]):
    name, version = "test.bread_order", 1
    locks = (Lock[OrderData]("test.bread", lambda data: data.number),)
    steps = (
        Begin(take_order, compensation=forget_order),
        Await(
            hand_over,
            within=minutes(5),
            on_timeout=OnTimeout.ATTENTION,
            no_compensation=NoCompensation.ACCEPT,
            carried_by_others=True,
        ),
    )


@subscribe("bill.bill_sent", "bakery.bread_refused")
def end_order(ctx: Ctx) -> None:
    told = heard(ctx)
    signal(BreadOrder, told.subject, hand_over, Ended(told.data.get("code", "")), dedup_id="end", actor=told.type)


FLOW = Flow(
    saga=BreadOrder,
    end=hand_over,
    stations=(
        Station("shop.bread_ordered"),
        Station("bakery.bread_baked", refused_by="bakery.bread_refused"),
        Station("bill.bill_sent"),
    ),
    quiet=minutes(5),
)
