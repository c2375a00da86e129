"""How far an order is, in the shopper's words: what its page shows while the saga runs.

It reads three rooms: the order's own status, the saga's steps, and what became of the money. The page never
says more than these know: "nothing was charged" stands there when the payment says so.
"""

from dataclasses import replace
from typing import Any

from payments import selectors as payments
from shipping import selectors as shipping
from shop.carrying import Carried, carried
from shop.models import Order
from shop.selectors import READDRESSING, checkout_and_wish
from shop.stages import Progress, Stage, Words, first_under_way, state_of, with_a_current
from shop.way_back import came_to_nothing, way_back, way_back_stages, what_to_offer
from shop.wording import why_cancelled

_PLACED = "We have your order"


_STAGES = (
    Words(
        "reserve_stock",
        "Stock reserved",
        "Reserving your products",
        "the warehouse",
        failed="Not in stock",
        undone="Stock given back",
    ),
    Words(
        "authorize_payment",
        "Payment authorised",
        "Asking your bank",
        "the bank",
        failed="Payment declined",
        undone="Payment released",
    ),
    Words(
        "book_shipment",
        "Parcel booked",
        "Booking your parcel",
        "the parcel service",
        failed="Parcel not accepted",
        undone="Parcel cancelled",
    ),
    Words("capture_payment", "Paid", "Taking the payment", "the bank", failed="Payment not taken"),
    Words("confirm_order", "Confirmed", "Confirming your order", "the shop"),
)
_BEHIND_CONFIRMATION = (Order.Status.CONFIRMED, Order.Status.SHIPPED, Order.Status.DELIVERED, Order.Status.RETURNED)
_ENDED_WELL = {
    Order.Status.CONFIRMED: ("Your order is confirmed", "Thank you! We are packing your parcel."),
    Order.Status.SHIPPED: ("Your parcel is on its way", "It has left our house."),
    Order.Status.DELIVERED: ("Your parcel has arrived", "Enjoy it!"),
    Order.Status.RETURNED: ("Your return is complete", "Your money is on its way back to you."),
}


def progress_of(order: Order) -> Progress:
    """Where ``order`` stands now. Reads only."""
    checkout, wish = checkout_and_wish(order.number)
    now = carried(order, checkout)
    return replace(_progress(order, now, wish), offer=what_to_offer(order, wish, goes_back=now.goes_back))


def _progress(order: Order, checkout: Carried, wish: Any) -> Progress:
    if wish is not None and wish.ended_at is None and not wish.backward:
        return way_back(wish)
    done = wish is not None and wish.status == "COMPLETED" and wish.definition != READDRESSING
    stages = way_back_stages(wish) if done else _stages(order, checkout)
    if order.status in _BEHIND_CONFIRMATION:
        headline, detail = _ENDED_WELL[Order.Status(order.status)]
        return Progress(headline, detail, "good", False, stages, _tracking(order), came_to_nothing(wish))
    if order.status == Order.Status.CANCELLED:
        money, settled = _money(order)
        return Progress("Your order was cancelled", f"{order.cancel_reason} {money}", "bad", not settled, stages)
    if not checkout.begun:
        return Progress(_PLACED, "We start working on it in a moment.", "working", True, stages)
    return _under_way(checkout, stages)


def _under_way(checkout: Carried, stages: tuple[Stage, ...]) -> Progress:
    if checkout.stands_still:
        detail = "You do not need to do anything. Nothing is lost, and we will write to you."
        return Progress("Somebody of us is looking after your order", detail, "waiting", True, stages)
    if checkout.goes_back:
        why = why_cancelled(checkout.code)
        detail = f"{why} We are giving everything back; this takes a moment."
        return Progress("We are cancelling your order", detail, "waiting", True, stages)
    if under_way := first_under_way(_STAGES, checkout.steps):
        words, waits = under_way
        if waits:
            detail = "We keep trying, so there is no need to order again. You can close this page and come back."
            return Progress(f"Waiting for {words.asked}", detail, "waiting", True, stages)
        return Progress(f"{words.doing} …", "This usually takes a few seconds.", "working", True, stages)
    return Progress(_PLACED, "This usually takes a few seconds.", "working", True, stages)


def _stages(order: Order, checkout: Carried) -> tuple[Stage, ...]:
    stages = [Stage("Order received", "done")]
    for words in _STAGES:
        if order.status in _BEHIND_CONFIRMATION:
            stages.append(Stage(words.done, "done"))
            continue
        step = checkout.steps.get(words.step)
        state = state_of(step) if step else "todo"
        if state in ("todo", "current", "waiting") and (order.status == Order.Status.CANCELLED or checkout.goes_back):
            break  # it will not come to this any more
        stages.append(Stage({"undone": words.undone, "failed": words.failed}.get(state) or words.done, state))
    return tuple(with_a_current(stages)) if order.status == Order.Status.PENDING else tuple(stages)


def _money(order: Order) -> tuple[str, bool]:
    """What became of the money of a cancelled order, and whether that is the last word."""
    payment = payments.payment_of(order.number)
    if payment is None or payment.status in ("DECLINED", "VOIDED"):
        return "Nothing was charged.", True
    if payment.status == "CAPTURED" and payment.refunded >= payment.amount:
        return "You got your money back.", True
    if payment.status == "CAPTURED":
        return "Your money is on its way back to you.", False
    return "Nothing will be charged.", False


def _tracking(order: Order) -> str:
    shipment = shipping.shipment_of(order.shipment_reference)
    if shipment is None or not shipment.tracking_code:
        return ""
    return f"{shipment.carrier} {shipment.tracking_code}"
