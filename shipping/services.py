"""What may be done with shipments.

The functions named ``open_``, ``begin_`` and ``record_`` write rows in the caller's transaction. The
others call the carrier: outside any transaction, touching no rows. Every change of a row is one
conditional UPDATE or one unique INSERT: whole by itself, without a savepoint.
"""

import functools
from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from shipping.carrier import Address, Booking, BookingRequest, CancelRequest, Carrier, Quote
from shipping.exceptions import AlreadyCancelled, ContradictoryAnswer, ShipmentMismatch, UnknownShipment
from shipping.models import Shipment
from shipping.webhooks import EventReceipt, apply_pending_events, keep_open, receive_event

__all__ = [
    "Address",
    "Booking",
    "BookingRequest",
    "CancelRequest",
    "EventReceipt",
    "Quote",
    "apply_pending_events",
    "begin_cancel",
    "book",
    "cancel",
    "find_booking",
    "keep_open",
    "open_shipment",
    "quote",
    "receive_event",
    "record_booked",
    "record_cancelled",
    "record_refused",
    "withdraw_cancel",
]

Status = Shipment.Status

_OPEN = """
    INSERT INTO shipping_shipment (reference, status, name, line1, city, postal_code, country, weight_grams,
                                   tracking_code, carrier, tracking_status, refusal_code, refusal_message,
                                   created_at, updated_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, '', '', '', '', '', clock_timestamp(), clock_timestamp())
    ON CONFLICT (reference) DO NOTHING
"""


def open_shipment(reference: str, address: Address, weight_grams: int) -> BookingRequest:
    """Store the intent to book; commit it before the call.

    Called again with the same words it returns the same request; a refused shipment may be opened again
    with another address. Raises `AlreadyCancelled`, `ShipmentMismatch`.
    """
    request = BookingRequest(
        reference, address.name, address.line1, address.city, address.postal_code, address.country, weight_grams
    )
    if not _insert(request, Status.UNKNOWN):
        shipment = _shipment(reference)
        if shipment.status in (Status.CANCELLING, Status.CANCELLED):
            raise AlreadyCancelled(reference)
        if shipment.status == Status.REFUSED:
            if not _open_again(request):
                raise ShipmentMismatch(reference)
        elif _request_of(shipment) != request:
            raise ShipmentMismatch(reference)
    return request


def record_booked(reference: str, booking: Booking) -> None:
    """The label is bought. Raises `AlreadyCancelled` when a cancel came first: the label must be given back."""
    if _move(
        reference,
        [Status.UNKNOWN],
        Status.BOOKED,
        shipment_id=booking.shipment_id,
        tracking_code=booking.tracking_code,
        carrier=booking.carrier,
        tracking_status=Shipment.Tracking.PRE_TRANSIT,
    ):
        return
    shipment = _shipment(reference)
    if shipment.status in (Status.CANCELLING, Status.CANCELLED):
        raise AlreadyCancelled(reference)
    if (shipment.status, shipment.shipment_id) != (Status.BOOKED, booking.shipment_id):
        raise ContradictoryAnswer(reference, shipment.status, f"booked {booking.shipment_id}")


def record_refused(reference: str, code: str, message: str) -> None:
    """The carrier said no; ``message`` is shown to the shopper. After a cancel it changes nothing."""
    if _move(reference, [Status.UNKNOWN], Status.REFUSED, refusal_code=code[:100], refusal_message=message[:300]):
        return
    shipment = _shipment(reference)
    if shipment.status == Status.BOOKED:
        raise ContradictoryAnswer(reference, shipment.status, f"refused ({code})")


def begin_cancel(reference: str) -> CancelRequest:
    """Store the intent to cancel. Where no shipment is, the row becomes a tombstone that refuses a late one.

    Called again it returns the same request.
    """
    if _insert(BookingRequest(reference, "", "", "", "", "", 0), Status.CANCELLED):
        return CancelRequest(reference, None, None)
    _move(reference, [Status.UNKNOWN, Status.BOOKED], Status.CANCELLING)
    shipment = _shipment(reference)
    request = _request_of(shipment) if shipment.weight_grams else None
    return CancelRequest(reference, request, shipment.shipment_id)


def record_cancelled(reference: str) -> None:
    """No label is held any more. A refused shipment stays refused."""
    if not _move(reference, [Status.UNKNOWN, Status.BOOKED, Status.CANCELLING], Status.CANCELLED):
        _shipment(reference)


def close_unanswered(reference: str) -> None:
    """A booking that was never answered is known to have had no effect: it is cancelled, and can never be made.

    Changes nothing else.
    """
    _move(reference, [Shipment.Status.UNKNOWN], Shipment.Status.CANCELLED)


def withdraw_cancel(reference: str) -> None:
    """The label was certainly not given back: it stays booked. Changes nothing unless a cancel was begun."""
    Shipment.objects.filter(reference=reference, status=Status.CANCELLING, shipment_id__isnull=False).update(
        status=Status.BOOKED, updated_at=Now()
    )


def quote(address: Address, weight_grams: int, *, timeout: timedelta) -> list[Quote]:
    """What a parcel would cost, cheapest first."""
    return carrier().quote(address, weight_grams, timeout=timeout)


def book(request: BookingRequest, *, key: str, timeout: timedelta) -> Booking:
    """Buy the label, once for each reference."""
    return carrier().book(request, key=key, timeout=timeout)


def find_booking(request: BookingRequest, *, key: str, timeout: timedelta) -> Booking:
    """Ask what became of a booking."""
    return carrier().find_booking(request, key=key, timeout=timeout)


def cancel(request: CancelRequest, *, key: str, timeout: timedelta) -> None:
    """Give the label back. None bought is a success. Raises `CancelRefused` once the parcel travels."""
    carrier().cancel(request, key=key, timeout=timeout)


def carrier() -> Carrier:
    """The carrier of the settings, one for the process: its connections are pooled."""
    return _carrier(settings.CARRIER_URL, settings.CARRIER_API_KEY)


@functools.cache
def _carrier(url: str, api_key: str) -> Carrier:
    # Here and not above: most processes call no carrier, and the SDK would make all start later.
    from shipping.adapters.easypost import EasyPostCarrier

    return EasyPostCarrier(url, api_key)


def _insert(request: BookingRequest, status: Shipment.Status) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            _OPEN,
            [
                request.reference,
                status,
                request.name,
                request.line1,
                request.city,
                request.postal_code,
                request.country,
                request.weight_grams,
            ],
        )
        return bool(cursor.rowcount == 1)


def _move(reference: str, before: list[Shipment.Status], after: Shipment.Status, **columns: object) -> bool:
    changed = Shipment.objects.filter(reference=reference, status__in=before).update(
        status=after, updated_at=Now(), **columns
    )
    return changed == 1


def _open_again(request: BookingRequest) -> bool:
    return _move(
        request.reference,
        [Status.REFUSED],
        Status.UNKNOWN,
        name=request.name,
        line1=request.line1,
        city=request.city,
        postal_code=request.postal_code,
        country=request.country,
        weight_grams=request.weight_grams,
        refusal_code="",
        refusal_message="",
    )


def _request_of(shipment: Shipment) -> BookingRequest:
    return BookingRequest(
        shipment.reference,
        shipment.name,
        shipment.line1,
        shipment.city,
        shipment.postal_code,
        shipment.country,
        shipment.weight_grams,
    )


def _shipment(reference: str) -> Shipment:
    try:
        return Shipment.objects.get(reference=reference)
    except Shipment.DoesNotExist:
        raise UnknownShipment(reference) from None
