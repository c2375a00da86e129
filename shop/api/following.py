"""An order as the API tells it: its own row, who holds it, and what became of its money and its parcel."""

from typing import Any

from money import Money
from payments import selectors as payments
from sagas import selectors as sagas
from shipping import selectors as shipping
from shop.models import Order
from shop.progress import CHECKOUT
from shop.wording import why_cancelled

_DONE = ("SUCCEEDED", "SKIPPED")


def order_document(order: Order) -> dict[str, Any]:
    """What `OrderSerializer` tells of ``order``. Reads only."""
    saga = sagas.saga_of(CHECKOUT, order.number)
    return {
        "number": order.number,
        "status": order.status,
        "created_at": order.created_at,
        "confirmed_at": order.confirmed_at,
        "cancelled_at": order.cancelled_at,
        "in_progress": _in_progress(saga) if saga and saga.ended_at is None else None,
        "lines": order.lines.all(),
        "total": order.total,
        "payment": _payment(order),
        "shipment": shipping.shipment_of(order.number),
        "failure": _failure(order, saga.failure if saga else None),
    }


def _in_progress(saga: Any) -> dict[str, Any]:
    steps = [step for step in saga.steps.all() if step.action != "PENDING"]
    if saga.backward:
        current = [step for step in reversed(steps) if step.compensation in ("PENDING", "RUNNING", "FAILED")]
    else:
        current = [step for step in steps if step.action not in _DONE]
    return {
        "holder": saga.definition,
        "saga": saga.id,
        "since": saga.created_at,
        "step": current[0].name if current else None,
    }


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
