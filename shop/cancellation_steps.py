"""The steps of a cancellation. Nothing is undone on its way back: until the label is given back nothing was done."""

from dataclasses import dataclass

from payments import services as payments
from sagas.definition import Context, remote
from sagas.outcomes import Refused
from shipping import services as shipping
from shipping.answers import carrier_answers
from shop import giving_back
from shop import services as shop
from shop.models import Order
from shop.outside import Mail, deliver
from shop.selectors import order_with_lines
from shop.wording import because_you_asked, why_not_cancelled


@dataclass(frozen=True, slots=True)
class CancellationData:
    """``reason`` is in the shopper's words."""

    order_number: str
    reason: str


Ctx = Context[CancellationData]


def keep_order(ctx: Ctx, receipt: None) -> Mail:
    """The parcel was not stopped, so it stays booked."""
    order = order_with_lines(ctx.data.order_number)
    shipping.withdraw_cancel(order.shipment_reference)
    if order.status == Order.Status.CANCELLED:
        return _mail(order, "is cancelled", order.cancel_reason)
    return _mail(order, "is not cancelled", why_not_cancelled(ctx.failure.code if ctx.failure else ""))


@remote(prepare=keep_order, service="mail")
def tell_that_order_stands(ctx: Ctx, mail: Mail) -> None:
    """Whoever asked is told why it came to nothing; or that the checkout itself was faster."""
    deliver(ctx, mail)


def check_confirmed(ctx: Ctx) -> None:
    """It may have waited in line for the checkout: see what has become of the order."""
    order = order_with_lines(ctx.data.order_number)
    if order.status != Order.Status.CONFIRMED:
        raise Refused("not_confirmed", f"the order is {order.status}")


# --- the parcel -----------------------------------------------------------------------------------


def begin_cancel_shipment(ctx: Ctx) -> shipping.CancelRequest:
    return shipping.begin_cancel(order_with_lines(ctx.data.order_number).shipment_reference)


def record_shipment_cancelled(ctx: Ctx, receipt: None) -> None:
    shipping.record_cancelled(order_with_lines(ctx.data.order_number).shipment_reference)


@remote(prepare=begin_cancel_shipment, record=record_shipment_cancelled, service="carrier")
def cancel_shipment(ctx: Ctx, request: shipping.CancelRequest) -> None:
    """Give the label back. The carrier refuses when the parcel is on its way; then the order stands."""
    with carrier_answers():
        shipping.cancel(request, key=ctx.idempotency_key, timeout=ctx.timeout)


# --- the money and the goods --------------------------------------------------------------------------


@remote(prepare=giving_back.begin_refund, record=giving_back.record_refund, service="bank")
def refund_payment(ctx: Ctx, request: payments.RefundRequest) -> payments.RefundReceipt:
    return giving_back.refund(ctx, request)


def restock_goods(ctx: Ctx) -> None:
    giving_back.restock(ctx)


def mark_cancelled(ctx: Ctx) -> None:
    shop.cancel_order(ctx.data.order_number, because_you_asked(ctx.data.reason))


def compose_cancelled(ctx: Ctx) -> Mail:
    order = order_with_lines(ctx.data.order_number)
    body = f"Your order is cancelled. Your money is on its way back to you: {order.total}."
    return _mail(order, "is cancelled", body)


@remote(prepare=compose_cancelled, service="mail")
def send_cancelled(ctx: Ctx, mail: Mail) -> None:
    deliver(ctx, mail)


def _mail(order: Order, what: str, body: str) -> Mail:
    return Mail(order.email, f"Your order {order.number} {what}", f"{body}\n\nYour order: {shop.order_link(order)}\n")
