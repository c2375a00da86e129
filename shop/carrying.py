"""How far an order's checkout is, whoever carries it: one saga, or the services by each other's events."""

from dataclasses import dataclass
from typing import Any

from sagas.choreography.flows import Stand
from sagas.choreography.selectors import Trace, trace
from shop.models import Order
from shop.stages import steps_of

# A station that was undone, and the step whose handler had come there.
_STEPS = {
    "inventory.stock_reserved": "reserve_stock",
    "payments.payment_authorized": "authorize_payment",
    "shipping.shipment_booked": "book_shipment",
}


@dataclass(frozen=True, slots=True)
class Carried:
    """``steps`` by name; ``code`` is of the first failure."""

    begun: bool
    stands_still: bool
    goes_back: bool
    code: str
    steps: dict[str, Any]


def carried(order: Order, checkout: Any) -> Carried:
    """What the pages need to know of a checkout. Reads only."""
    if checkout is None:
        return Carried(begun=False, stands_still=False, goes_back=False, code="", steps={})
    if order.mode == Order.Mode.CHOREOGRAPHED and order.status in (Order.Status.PENDING, Order.Status.CANCELLED):
        return _by_services(checkout, trace(order.number))
    failure = checkout.failure or {}
    return Carried(
        begun=True,
        stands_still=checkout.status in ("SUSPENDED", "ABANDONED"),
        goes_back=checkout.backward,
        code=failure.get("code", ""),
        steps=steps_of(checkout),
    )


def _by_services(checkout: Any, found: Trace) -> Carried:
    """The handlers are called as the steps are, and each has its own saga."""
    handlers = [saga for told in found.events for saga in told.deliveries]
    steps = {name: step for saga in (*handlers, checkout) for name, step in steps_of(saga).items()}
    for station, stand in found.stations:
        if stand is Stand.UNDONE and (step := steps.get(_STEPS.get(station.event, ""))):
            step.compensation = "SUCCEEDED"  # shown, never stored
    refusals = {station.refused_by for station, _ in found.stations}
    first = next((told.row for told in found.events if told.row.type in refusals), None)
    return Carried(
        begun=True,
        stands_still=any(saga.status in ("SUSPENDED", "ABANDONED") for saga in (*handlers, checkout)),
        goes_back=checkout.backward or first is not None,
        code=str(first.data.get("code", "")) if first else "",
        steps=steps,
    )
