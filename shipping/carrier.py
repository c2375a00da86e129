"""The carrier port: what a carrier must be able to do for us, and the words in which we ask.

Requests and receipts hold only str, int and None: they are stored as JSON beside the saga step.
Adapters are called from many threads at once. All methods raise `BookingRefused` (or `CancelRefused`),
`CarrierUnavailable`, `OutcomeUnknown` or `CarrierMisuse`; `find_booking` also `NotDone`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Address:
    name: str
    line1: str
    city: str
    postal_code: str
    country: str  # ISO 3166, two letters


@dataclass(frozen=True, slots=True)
class BookingRequest:
    reference: str
    name: str
    line1: str
    city: str
    postal_code: str
    country: str
    weight_grams: int

    @property
    def address(self) -> Address:
        return Address(self.name, self.line1, self.city, self.postal_code, self.country)


@dataclass(frozen=True, slots=True)
class Booking:
    shipment_id: str
    tracking_code: str
    carrier: str


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """``request`` is that of the booking; none: no booking was ever asked for."""

    reference: str
    request: BookingRequest | None
    shipment_id: str | None


@dataclass(frozen=True, slots=True)
class Quote:
    """A price in minor units."""

    carrier: str
    service: str
    amount: int
    currency: str
    days: int | None


class Carrier(Protocol):
    def quote(self, address: Address, weight_grams: int, *, timeout: timedelta) -> list[Quote]:
        """What the parcel would cost, cheapest first. Binds nobody."""
        ...

    def book(self, request: BookingRequest, *, key: str, timeout: timedelta) -> Booking:
        """Buy the cheapest label, unless one was bought for this reference."""
        ...

    def find_booking(self, request: BookingRequest, *, key: str, timeout: timedelta) -> Booking:
        """What became of a booking whose answer was lost."""
        ...

    def cancel(self, request: CancelRequest, *, key: str, timeout: timedelta) -> None:
        """Give the label back. Accepts that none was bought."""
        ...
