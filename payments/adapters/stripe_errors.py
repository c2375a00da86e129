"""What Stripe's errors prove: a no, nothing happened, our fault, or nothing at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import stripe

from guarded_http import NotNow, proof_of_no_effect
from payments.exceptions import Declined, GatewayMisuse, GatewayUnavailable, OutcomeUnknown

_WORDS = {
    "insufficient_funds": "The card does not have enough money for this order.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The security code of the card is not right.",
    "authentication_required": "The bank wants you to confirm this payment, which this shop does not offer yet.",
    "invalid_payment_method": "This payment method is not known to the bank.",
    "amount_too_small": "The bank does not take payments this small.",
    "amount_too_large": "The bank does not take payments this large.",
}
_OTHER_WORDS = "The bank declined the card. Nothing was charged; try another card."


@contextmanager
def translated() -> Iterator[None]:
    """Raise our exceptions for Stripe's. An answer that cannot be read is an unknown outcome."""
    try:
        yield
    except stripe.CardError as error:
        raise _declined(error) from error
    except (stripe.RateLimitError, stripe.APIConnectionError, stripe.APIError) as error:
        raise _unproven(error) from error
    except stripe.InvalidRequestError as error:
        if error.code == "resource_missing" and error.param == "payment_method":
            raise Declined("invalid_payment_method", _WORDS["invalid_payment_method"]) from error
        if error.code == "charge_expired_for_capture":
            raise Declined("authorization_expired", "The bank no longer holds the money for this order.") from error
        raise GatewayMisuse(f"{error.http_status} {error.code}: {error.user_message}") from error
    except stripe.StripeError as error:
        raise GatewayMisuse(f"{error.http_status} {type(error).__name__}: {error.user_message}") from error
    except requests.RequestException as error:
        raise OutcomeUnknown(f"no answer in time: {error}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OutcomeUnknown(f"the gateway's answer cannot be understood ({type(error).__name__})") from error


@contextmanager
def amount_refusals() -> Iterator[None]:
    """Of a payment that is to be created, an amount that the bank does not take is a no and not our fault."""
    try:
        yield
    except stripe.InvalidRequestError as error:
        if error.code in ("amount_too_small", "amount_too_large"):
            raise Declined(error.code, _WORDS[error.code]) from error
        raise


def is_unexpected_state(error: stripe.InvalidRequestError) -> bool:
    """The intent is not in a state that allows the call: look which it is in."""
    return error.code == "payment_intent_unexpected_state"


def decline_of(intent: Any) -> Declined | None:
    """The decline that an intent remembers from its last confirmation."""
    last = getattr(intent, "last_payment_error", None)
    if last is None:
        return None
    code = getattr(last, "decline_code", None) or getattr(last, "code", None) or "card_declined"
    return Declined(code, _WORDS.get(code, _OTHER_WORDS))


def _declined(error: stripe.CardError) -> Declined:
    code = getattr(error.error, "decline_code", None) or error.code or "card_declined"
    return Declined(code, _WORDS.get(code, _OTHER_WORDS))


def _unproven(error: stripe.StripeError) -> GatewayUnavailable | OutcomeUnknown:
    proof = proof_of_no_effect(error)
    if isinstance(proof, NotNow):
        return GatewayUnavailable(f"the gateway is left alone for now: {proof}", proof.retry_after)
    if proof is not None:
        return GatewayUnavailable("the gateway cannot be reached")
    if isinstance(error, stripe.RateLimitError):
        return GatewayUnavailable("the gateway is too busy for now")
    if isinstance(error, stripe.APIConnectionError):
        return OutcomeUnknown(f"the connection failed before an answer came ({type(error.__cause__).__name__})")
    return OutcomeUnknown(f"the gateway answered {error.http_status}, which proves nothing")
