"""The sandbox bank's objects and errors, with the fields that Stripe gives them."""

import time
from typing import Any

from sandbox.store import new_id

# What one payment may be about: in most currencies 0.50 at least, and eight digits.
LEAST, MOST = 50, 99_999_999
WORKING = {"pm_card_visa", "pm_card_mastercard", "pm_card_amex"}
DECLINING = {
    "pm_card_chargeDeclined": "generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclinedExpiredCard": "expired_card",
    "pm_card_chargeDeclinedIncorrectCvc": "incorrect_cvc",
    "pm_card_authenticationRequired": "authentication_required",
}
# These are error codes of their own at Stripe; the others are decline codes of `card_declined`.
_OWN_CODES = {"expired_card", "incorrect_cvc", "authentication_required"}


class BankError(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, message: str, *, kind: str = "invalid_request_error", **fields: Any) -> None:
        self.status = status
        self.body: dict[str, Any] = {"error": {"type": kind, "message": message, **fields}}
        super().__init__(message)


def card_error(code: str, intent: dict[str, Any]) -> BankError:
    own = code in _OWN_CODES
    return BankError(
        402,
        "Your card was declined.",
        kind="card_error",
        code=code if own else "card_declined",
        decline_code=None if own else code,
        payment_intent={"id": intent["id"], "object": "payment_intent", "status": intent["status"]},
    )


def unexpected_state(verb: str, intent: dict[str, Any]) -> BankError:
    return BankError(
        400,
        f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}.",
        code="payment_intent_unexpected_state",
        payment_intent={"id": intent["id"], "object": "payment_intent", "status": intent["status"]},
    )


def new_intent(form: dict[str, str]) -> dict[str, Any]:
    amount, currency = form.get("amount", ""), form.get("currency", "")
    if not amount.isdigit():
        raise BankError(400, "Invalid integer: amount", code="parameter_invalid_integer", param="amount")
    if not LEAST <= int(amount) <= MOST:
        code = "amount_too_small" if int(amount) < LEAST else "amount_too_large"
        raise BankError(400, f"Amount must be between {LEAST} and {MOST}", code=code, param="amount")
    if len(currency) != 3 or not currency.isalpha():
        raise BankError(400, f"Invalid currency: {currency}", param="currency")
    return {
        "id": new_id("pi"),
        "object": "payment_intent",
        "amount": int(amount),
        "amount_capturable": 0,
        "amount_received": 0,
        "amount_refunded": 0,
        "currency": currency.lower(),
        "capture_method": form.get("capture_method", "automatic"),
        "status": "requires_payment_method",
        "payment_method": None,
        "payment_method_types": ["card"],
        "last_payment_error": None,
        "latest_charge": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "metadata": _metadata(form),
        "created": int(time.time()),
        "livemode": False,
    }


def new_refund(form: dict[str, str], intent: dict[str, Any], left: int) -> dict[str, Any]:
    if intent["amount_received"] and not left:
        raise BankError(400, "Charge has already been refunded.", code="charge_already_refunded")
    amount = form.get("amount", str(left))
    if not amount.isdigit() or not 0 < int(amount) <= left:
        raise BankError(400, f"Refund amount ({amount}) is greater than unrefunded amount ({left})", param="amount")
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": int(amount),
        "currency": intent["currency"],
        "payment_intent": intent["id"],
        "charge": intent["latest_charge"],
        "status": "succeeded",
        "metadata": _metadata(form),
        "created": int(time.time()),
    }


def new_event(kind: str, subject: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": new_id("evt"),
        "object": "event",
        "type": kind,
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": subject},
    }


def _metadata(form: dict[str, str]) -> dict[str, str]:
    return {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[") and name.endswith("]")}
