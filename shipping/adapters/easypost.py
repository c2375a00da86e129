"""The carrier port on EasyPost's official SDK.

EasyPost knows no idempotency keys. What makes a booking safe to repeat is that a shipment is made
under our reference and found by it (the API takes a reference in the place of an id), and that a
second purchase of one shipment is refused. A shipment without a purchase costs nothing.
(https://docs.easypost.com/docs/shipments)
"""

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

from easypost.easypost_client import EasyPostClient
from easypost.errors.api.api_error import ApiError
from easypost.errors.api.not_found_error import NotFoundError

from guarded_http import Deadline, GuardedSession
from shipping.adapters.easypost_errors import code_of, translated
from shipping.carrier import Address, Booking, BookingRequest, CancelRequest, Quote
from shipping.exceptions import BookingRefused, CancelRefused, NotDone, OutcomeUnknown

_FROM = {
    "name": "Saga shop",
    "street1": "Lagerstraße 1",
    "city": "Berlin",
    "zip": "10115",
    "country": "DE",
}
_GIVEN_BACK = ("submitted", "refunded")
_GRAMS_PER_OUNCE = 28.349523125


class EasyPostCarrier:
    """Talks to EasyPost, or to whatever speaks EasyPost's shape at ``url``."""

    def __init__(self, url: str, api_key: str) -> None:
        self._base, self._api_key = f"{url.rstrip('/')}/v2", api_key
        self._session = GuardedSession("carrier")

    def quote(self, address: Address, weight_grams: int, *, timeout: timedelta) -> list[Quote]:
        with translated():
            shipment = self._client(Deadline(timeout)).shipment.create(**_parcel(address, weight_grams))
            return [
                Quote(rate.carrier, rate.service, int(Decimal(rate.rate) * 100), rate.currency, rate.delivery_days)
                for rate in _cheapest_first(shipment)
            ]

    def book(self, request: BookingRequest, *, key: str, timeout: timedelta) -> Booking:
        return _booking(self._bought(request, Deadline(timeout)), request.reference)

    def find_booking(self, request: BookingRequest, *, key: str, timeout: timedelta) -> Booking:
        shipment = self._find(request.reference, Deadline(timeout))
        if shipment is None:
            raise OutcomeUnknown("the carrier knows no such shipment; one may still be under way")
        if shipment.refund_status in _GIVEN_BACK:
            raise NotDone("the label was given back")
        return _booking(shipment, request.reference)

    def cancel(self, request: CancelRequest, *, key: str, timeout: timedelta) -> None:
        """Settle, then give back.

        A purchase whose outcome is unknown may still come, even one of which the carrier has seen nothing: its
        worker may be frozen. So it is made first. Whoever comes later finds it bought, and buys no other.
        """
        if request.request is None:
            return
        deadline = Deadline(timeout)
        try:
            shipment = self._bought(request.request, deadline)
        except BookingRefused:
            return
        if shipment.refund_status in _GIVEN_BACK:
            return
        with translated():
            try:
                shipment = self._client(deadline).shipment.refund(shipment.id)
            except ApiError as error:
                if error.http_status != 422:
                    raise
                raise CancelRefused(code_of(error), f"The carrier does not take the label back: {error}") from error
            if shipment.refund_status == "rejected":
                raise CancelRefused("rejected", "The carrier does not take the label back.")
            if shipment.refund_status not in _GIVEN_BACK:
                raise OutcomeUnknown(f"after the refund of the label its status is {shipment.refund_status}")

    def _bought(self, request: BookingRequest, deadline: Deadline) -> Any:
        """The shipment with its label, which is bought once, by whoever comes first."""
        shipment = self._find(request.reference, deadline)
        if shipment is None:
            with translated():
                self._client(deadline).shipment.create(
                    reference=request.reference, **_parcel(request.address, request.weight_grams)
                )
            # Not the answer's shipment: if the request was doubled, all must buy the same one of the two.
            shipment = self._find(request.reference, deadline)
        if shipment is None:
            raise OutcomeUnknown("the shipment was made, but is not found by its reference")
        return shipment if _is_bought(shipment) else self._buy(shipment, request.reference, deadline)

    def _find(self, reference: str, deadline: Deadline) -> Any:
        with translated():
            try:
                shipment = self._client(deadline).shipment.retrieve(reference)
            except NotFoundError:
                return None
            if shipment.reference != reference:
                raise OutcomeUnknown("the carrier answered with a shipment of another order")
            return shipment

    def _buy(self, shipment: Any, reference: str, deadline: Deadline) -> Any:
        with translated():
            rates = _cheapest_first(shipment)
            if not rates:
                raise BookingRefused("no_rates", "No carrier delivers to this address.")
            try:
                return self._client(deadline).shipment.buy(shipment.id, rate={"id": rates[0].id})
            except ApiError as error:
                if code_of(error) != "SHIPMENT.POSTAGE.EXISTS":
                    raise
        return self._find(reference, deadline)

    def _client(self, deadline: Deadline) -> EasyPostClient:
        """A client for one call: its time-outs are what is left of the deadline; the connections are shared."""
        client = EasyPostClient(self._api_key, api_base=self._base)
        client.timeout = deadline.limits()  # type: ignore[assignment]  # handed to requests as it is
        client._requests_session = self._session  # the SDK's own retries connects and obeys proxies
        return client


def _parcel(address: Address, weight_grams: int) -> dict[str, Any]:
    return {
        "to_address": {
            "name": address.name,
            "street1": address.line1,
            "city": address.city,
            "zip": address.postal_code,
            "country": address.country,
        },
        "from_address": _FROM,
        # In tenths of an ounce, rounded up: nothing weighs 0.
        "parcel": {"weight": math.ceil(weight_grams / _GRAMS_PER_OUNCE * 10) / 10},
    }


def _cheapest_first(shipment: Any) -> list[Any]:
    return sorted(shipment.rates, key=lambda rate: Decimal(rate.rate))


def _is_bought(shipment: Any) -> bool:
    with translated():
        return bool(shipment.tracking_code)


def _booking(shipment: Any, reference: str) -> Booking:
    with translated():
        if not shipment.tracking_code:
            raise OutcomeUnknown("the shipment is made, but no label is bought")
        if shipment.reference != reference or not isinstance(shipment.id, str):
            raise OutcomeUnknown("the carrier answered with a shipment of another order")
        return Booking(shipment.id, str(shipment.tracking_code), str(shipment.selected_rate.carrier))
