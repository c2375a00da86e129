"""What shipping says, other than yes."""

from datetime import timedelta


class ShippingError(Exception):
    """Any refusal or failure of this app."""


class BookingRefused(ShippingError):
    """The carrier will not take this parcel. ``message`` is in the shopper's words."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"{code}: {message}")


class CancelRefused(ShippingError):
    """The carrier will not take the label back: the parcel is on its way. A person must decide."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"{code}: {message}")


class CarrierUnavailable(ShippingError):
    """The carrier could not be asked, or promised to have done nothing: definitely no effect, try again."""

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        self.message, self.retry_after = message, retry_after
        super().__init__(message)


class OutcomeUnknown(ShippingError):
    """The call may or may not have had its effect. Ask, or repeat it."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class NotDone(ShippingError):
    """Proven: the call had no effect and can no longer have one."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class CarrierMisuse(ShippingError):
    """The carrier rejected how we asked: our bug or our credentials, never the shopper's fault."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class InvalidEvent(ShippingError):
    """A webhook that the carrier did not sign, or made too long ago. Nothing was stored."""


class _AboutShipment(ShippingError):
    wording = ""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        super().__init__(self.wording.format(reference=reference))


class AlreadyCancelled(_AboutShipment):
    """The shipment was cancelled, perhaps before it was booked: it can never be booked again."""

    wording = "the shipment {reference!r} was cancelled"


class UnknownShipment(_AboutShipment):
    """There is no shipment with this reference."""

    wording = "there is no shipment {reference!r}"


class ShipmentMismatch(_AboutShipment):
    """The reference is taken by a shipment to another place or of another weight; nothing was changed."""

    wording = "the shipment {reference!r} goes elsewhere, or weighs something else, than asked for now"


class ContradictoryAnswer(ShippingError):
    """The carrier's new answer cannot follow the one already stored. The first stands."""

    def __init__(self, reference: str, stored: str, answered: str) -> None:
        self.reference, self.stored, self.answered = reference, stored, answered
        super().__init__(f"{reference!r} is {stored}, the carrier now says {answered}")
