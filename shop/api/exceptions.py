"""What the shop's API refuses. ``default_code`` is the stable type of the problem; the docstring is its page."""

from typing import Any

from rest_framework.exceptions import APIException, AuthenticationFailed, ValidationError


class IdempotencyKeyMissing(ValidationError):
    """Orders are placed with a header `Idempotency-Key`.

    Make a new random key (a UUID version 4 is good) for each order, and send the same key when you repeat the
    request because the answer was lost: there will be one order.
    """

    default_code = "idempotency_key_missing"
    default_detail = {"Idempotency-Key": "Send a key of your own making, such as a UUID, in this header."}
    title = "The Idempotency-Key is missing"


class IdempotencyKeyInvalid(ValidationError):
    """An `Idempotency-Key` has 16 to 128 printable ASCII characters without spaces, and should be random."""

    default_code = "idempotency_key_invalid"
    default_detail = {"Idempotency-Key": "A key has 16 to 128 printable ASCII characters and no spaces."}
    title = "The Idempotency-Key is not valid"


class IdempotencyKeyReused(ValidationError):
    """This `Idempotency-Key` came before with another body. Nothing was done; use a new key for a new order."""

    status_code = 422
    default_code = "idempotency_key_reused"
    default_detail = {"Idempotency-Key": "This key belongs to a request with another body."}
    title = "The Idempotency-Key was used for something else"


class IdempotencyKeyInUse(APIException):
    """A request with this `Idempotency-Key` is being worked on. Send it again to get its answer."""

    status_code = 409
    default_code = "idempotency_key_in_use"
    default_detail = "A request with this key is being worked on. Send it again in a moment."
    title = "The same request is under way"
    wait = 1


class UnknownProductInOrder(ValidationError):
    """A line names a product that is not for sale. Nothing was ordered."""

    status_code = 422
    default_code = "unknown_product"
    default_detail = {"lines.0.sku": "There is no product “MUG-1” for sale."}
    title = "There is no such product"


class MixedCurrenciesInOrder(ValidationError):
    """The lines are priced in more than one currency. Place an order for each."""

    status_code = 422
    default_code = "mixed_currencies"
    default_detail = {"lines": "One order has one currency, and these products have EUR and USD."}
    title = "One order has one currency"


class OutOfStockForOrder(ValidationError):
    """There is less than was ordered. Nothing was ordered; `available` says how much there is."""

    status_code = 409
    default_code = "out_of_stock"
    default_detail = {"lines.0.quantity": "Only 2 of “Mug” are left."}
    title = "There is not enough in stock"

    def __init__(self, detail: dict[str, str] | None = None, available: int = 2) -> None:
        super().__init__(detail)
        self.extensions = {"available": available}


class LoginFailed(AuthenticationFailed):
    """The user name or the password is wrong, or this name failed too often and has to wait a quarter of an hour."""

    default_code = "login_failed"
    default_detail = "The user name or the password is wrong, or there were too many failed logins."
    title = "The login failed"


class WebhookInvalid(APIException):
    """The body was not signed with a secret of ours, or too long ago, or is not an event. Nothing was stored."""

    status_code = 400
    default_code = "webhook_invalid"
    default_detail = "This is not an event that was signed for us."
    title = "The webhook is not valid"


class OrderInProgress(APIException):
    """A saga holds the order, so it cannot be changed at this moment. Send the same again in a while."""

    status_code = 503
    default_code = "order_in_progress"
    default_detail = "A saga holds the order. Send the same again in a while."
    title = "The order is being worked on"
    wait = 30


class NotForThisOrder(APIException):
    """What was asked for does not fit where the order is. Nothing was changed.

    `instead` names what can be asked for: `cancel`, `return`, or null. `in_progress` is the saga that holds the
    order or its return, or null.
    """

    status_code = 409
    default_code = "not_for_this_order"
    default_detail = "The parcel is on its way, so the order can no longer be cancelled. You can return it instead."
    title = "The order is past that, or not there yet"

    def __init__(
        self, detail: str | None = None, instead: str = "return", holder: dict[str, Any] | None = None
    ) -> None:
        super().__init__(detail)
        told = {**holder, "saga": str(holder["saga"]), "since": holder["since"].isoformat()} if holder else None
        self.extensions = {"instead": instead or None, "in_progress": told}
