"""An order as the API tells it: its own row, who holds it, and what became of its money and its parcel."""

from typing import Any

from money import Money
from payments import selectors as payments
from sagas import selectors as sagas
from shipping import selectors as shipping
from shop.models import Order
from shop.selectors import CANCELLATION, READDRESSING, RETURN, checkout_and_wish
from shop.way_back import came_to_nothing
from shop.wording import why_cancelled

_WISHES = {CANCELLATION: "cancel", RETURN: "return", READDRESSING: "address"}


def order_document(order: Order) -> dict[str, Any]:
    """What `OrderSerializer` tells of ``order``. Reads only."""
    checkout, wish = checkout_and_wish(order.number)
    holder = sagas.lock_holder("shop.order", order.number)
    return {
        "number": order.number,
        "status": order.status,
        "mode": order.mode,
        "created_at": order.created_at,
        "confirmed_at": order.confirmed_at,
        "cancelled_at": order.cancelled_at,
        "in_progress": in_progress(holder) if holder else None,
        "lines": order.lines.all(),
        "total": order.total,
        "payment": _payment(order),
        "shipment": shipping.shipment_of(order.shipment_reference),
        "failure": _failure(order, checkout.failure if checkout else None),
        "asked_for": _asked_for(wish) if wish else None,
    }


def in_progress(holder: sagas.LockHolder) -> dict[str, Any]:
    """Who holds an order, as the API tells it."""
    return {"holder": holder.definition, "saga": holder.saga_id, "since": holder.since, "step": holder.step}


def _asked_for(wish: Any) -> dict[str, Any]:
    return {"what": _WISHES[wish.definition], "saga": wish.pk, "status": wish.status, "message": came_to_nothing(wish)}


def _payment(order: Order) -> dict[str, Any] | None:
    payment = payments.payment_of(order.number)
    if payment is None:
        return None
    return {
        "status": payment.status,
        "amount": Money(payment.amount, payment.currency),
        "refunded": Money(payment.refunded, payment.currency),
    }


def _failure(order: Order, failure: dict[str, str] | None) -> dict[str, str] | None:
    if order.status == Order.Status.CANCELLED:
        return {"code": (failure or {}).get("code", "cancelled"), "message": order.cancel_reason}
    if failure:
        return {"code": failure["code"], "message": why_cancelled(failure["code"])}
    return None
