"""What the shop tells. The subject is the order's number."""

from dataclasses import dataclass

from sagas.choreography.services import event


@event("shop.order_placed")
@dataclass(frozen=True, slots=True)
class OrderPlaced:
    """What the other services need to know of an order; amounts are in minor units.

    The bank's token and the address stand here and nowhere else: later events refer to this one.
    """

    lines: dict[str, int]
    amount: int
    currency: str
    payment_method: str
    address: dict[str, str]
    weight_grams: int


@event("shop.order_confirmed")
@dataclass(frozen=True, slots=True)
class OrderConfirmed:
    """Paid, taken from stock, and its parcel booked."""


@event("shop.order_cancelled")
@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """Nothing is kept, held or booked for it."""

    code: str
