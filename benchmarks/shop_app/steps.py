"""The work of one order, as a Django user would write it. The plain loop and the engine call the same functions."""

import time
from dataclasses import dataclass
from typing import Protocol

from django.db.models import F
from django.db.models.functions import Now

from benchmarks.shop_app.models import Order, Payment, Product, Shipment
from sagas.definition import Context, remote
from sagas.outcomes import Refused

BANK_TAKES_S = 0.1


@dataclass(frozen=True)
class Purchase:
    number: str
    product: int
    quantity: int
    cents: int
    declined: bool


class HasPurchase(Protocol):
    """All that a step reads of its context, so that a loop without an engine can call it."""

    @property
    def data(self) -> Purchase: ...


def place_order(purchase: Purchase) -> None:
    Order.objects.create(
        number=purchase.number, product_id=purchase.product, quantity=purchase.quantity, cents=purchase.cents
    )


def reserve_stock(ctx: HasPurchase) -> None:
    Product.objects.filter(pk=ctx.data.product).update(stock=F("stock") - ctx.data.quantity)


def record_payment(ctx: HasPurchase) -> None:
    if ctx.data.declined:
        raise Refused("declined", "the card was declined")
    Payment.objects.create(order_id=ctx.data.number, cents=ctx.data.cents)


def record_shipment(ctx: HasPurchase) -> None:
    Shipment.objects.create(order_id=ctx.data.number, label=f"label of {ctx.data.number}")


def confirm_order(ctx: HasPurchase) -> None:
    Order.objects.filter(pk=ctx.data.number).update(status="CONFIRMED", ended_at=Now())


def release_stock(ctx: HasPurchase, receipt: None = None) -> None:
    Product.objects.filter(pk=ctx.data.product).update(stock=F("stock") + ctx.data.quantity)


def cancel_order(ctx: HasPurchase, receipt: None = None) -> None:
    Order.objects.filter(pk=ctx.data.number).update(status="CANCELLED", ended_at=Now())


def note_payment(ctx: Context[Purchase], receipt: None) -> None:
    record_payment(ctx)


@remote(record=note_payment)
def pay_at_once(ctx: Context[Purchase], request: None) -> None:
    """A call outside that is answered at once: what a remote step costs by itself."""


@remote(record=note_payment)
def pay_slowly(ctx: Context[Purchase], request: None) -> None:
    time.sleep(BANK_TAKES_S)
