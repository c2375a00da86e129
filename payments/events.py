"""What payments tells. The subject is the reference that is paid for: the order's number."""

from dataclasses import dataclass

from sagas.choreography.services import event


@event("payments.payment_authorized")
@dataclass(frozen=True, slots=True)
class PaymentAuthorized:
    """The bank holds the money; amounts are in minor units."""

    amount: int
    currency: str


@event("payments.payment_declined")
@dataclass(frozen=True, slots=True)
class PaymentDeclined:
    """Nothing is held and nothing will be."""

    code: str
    message: str


@event("payments.payment_captured")
@dataclass(frozen=True, slots=True)
class PaymentCaptured:
    """The money is ours."""

    amount: int
    currency: str


@event("payments.capture_refused")
@dataclass(frozen=True, slots=True)
class CaptureRefused:
    """The money was certainly not taken; it may still be held."""

    code: str
    message: str


@event("payments.payment_voided")
@dataclass(frozen=True, slots=True)
class PaymentVoided:
    """What was held is free again; ``code`` and ``message`` are of what went wrong first."""

    code: str
    message: str
