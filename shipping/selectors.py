"""What shipping tells: where one parcel is."""

from dataclasses import dataclass
from datetime import datetime

from shipping.models import Shipment, TrackingEvent


@dataclass(frozen=True, slots=True)
class TrackingEventView:
    """One line of a parcel's way."""

    status: str
    message: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class ShipmentView:
    """A shipment to be shown. ``status`` is ours, ``tracking_status`` the carrier's."""

    reference: str
    status: str
    tracking_status: str
    tracking_code: str
    carrier: str
    refusal_message: str
    events: tuple[TrackingEventView, ...]


def shipment_of(reference: str) -> ShipmentView | None:
    """The shipment of an order, or None before there is one."""
    shipment = Shipment.objects.filter(reference=reference).first()
    if shipment is None:
        return None
    events: tuple[TrackingEventView, ...] = ()
    if shipment.tracking_code:
        rows = TrackingEvent.objects.filter(tracking_code=shipment.tracking_code).order_by("id")
        events = tuple(TrackingEventView(row.tracking_status, row.message, row.received_at) for row in rows)
    return ShipmentView(
        reference=shipment.reference,
        status=shipment.status,
        tracking_status=shipment.tracking_status,
        tracking_code=shipment.tracking_code,
        carrier=shipment.carrier,
        refusal_message=shipment.refusal_message,
        events=events,
    )
