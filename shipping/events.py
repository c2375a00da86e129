"""What shipping tells. The subject is the reference of the first parcel: the order's number."""

from dataclasses import dataclass

from sagas.choreography.services import event


@event("shipping.shipment_booked")
@dataclass(frozen=True, slots=True)
class ShipmentBooked:
    carrier: str
    tracking_code: str


@event("shipping.shipment_refused")
@dataclass(frozen=True, slots=True)
class ShipmentRefused:
    """No label is held and none will be."""

    code: str
    message: str


@event("shipping.shipment_cancelled")
@dataclass(frozen=True, slots=True)
class ShipmentCancelled:
    """The label was given back; ``code`` and ``message`` are of what went wrong first."""

    code: str
    message: str
