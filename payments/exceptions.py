"""What payments says, other than yes."""

from datetime import timedelta


class PaymentError(Exception):
    """Any refusal or failure of this app."""


class Declined(PaymentError):
    """The bank said no. ``message`` is in the shopper's words."""

    def __init__(self, code: str, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(f"{code}: {message}")


class GatewayUnavailable(PaymentError):
    """The gateway could not be asked, or promised to have done nothing: definitely no effect, try again."""

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        self.message, self.retry_after = message, retry_after
        super().__init__(message)


class OutcomeUnknown(PaymentError):
    """The call may or may not have had its effect. Ask, or repeat it with the same key."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class NotDone(PaymentError):
    """Proven: the call had no effect and can no longer have one."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class GatewayMisuse(PaymentError):
    """The gateway rejected how we asked: our bug or our credentials, never the shopper's fault."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class InvalidEvent(PaymentError):
    """A webhook that the gateway did not sign, or signed too long ago. Nothing was stored."""


class _AboutPayment(PaymentError):
    wording = ""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        super().__init__(self.wording.format(reference=reference))


class AlreadyVoided(_AboutPayment):
    """The payment was voided, perhaps before it was made: it can never be made again."""

    wording = "the payment {reference!r} was voided"


class AlreadyCaptured(_AboutPayment):
    """The money was taken: refund it, a void comes too late."""

    wording = "the payment {reference!r} was captured; refund it instead"


class UnknownPayment(_AboutPayment):
    """There is no payment with this reference."""

    wording = "there is no payment {reference!r}"


class UnknownRefund(_AboutPayment):
    """There is no refund with this reference."""

    wording = "there is no refund {reference!r}"


class NotAuthorized(_AboutPayment):
    """There is no authorization that could be captured."""

    wording = "the payment {reference!r} is not authorized"


class PaymentMismatch(_AboutPayment):
    """The reference is taken by a payment or refund with another amount, method or key; nothing was changed."""

    wording = "{reference!r} stands for another amount, method or key than asked for now"


class RefundExceedsCapture(_AboutPayment):
    """More would be given back than was taken; nothing was changed."""

    wording = "more would be refunded than was captured of {reference!r}"


class ContradictoryAnswer(PaymentError):
    """The gateway's new answer cannot follow the one already stored. The first stands."""

    def __init__(self, reference: str, stored: str, answered: str) -> None:
        self.reference, self.stored, self.answered = reference, stored, answered
        super().__init__(f"{reference!r} is {stored}, the gateway now says {answered}")
