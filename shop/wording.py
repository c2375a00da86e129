"""What becomes of an order, in the shopper's words."""

ASKED_TO_CANCEL = "asked_to_cancel"
NOT_ACCEPTED = "not_accepted"
ON_ITS_WAY = "cancel_refused"

_REASONS = {
    "card_declined": "Your bank declined the card.",
    "generic_decline": "Your bank declined the card.",
    "insufficient_funds": "Your bank declined the card: there is not enough money on the account.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The security code of the card was not right.",
    "processing_error": "The bank could not process the card.",
    "amount_too_small": "The bank does not take payments this small.",
    "amount_too_large": "The bank does not take payments this large.",
    "out_of_stock": "Somebody else was faster: not everything you ordered is still in stock.",
    "booking_refused": "The parcel service does not deliver to this address.",
    "deadline": "We could not finish your order in time.",
    "cancelled": "You asked us to cancel it.",
}
_OTHERWISE = "We could not complete your order."

WHY_NO_CANCEL = {
    "shipped": "The parcel is on its way, so the order can no longer be cancelled. You can return it instead.",
    "delivered": "The parcel has arrived, so the order can no longer be cancelled. You can return it instead.",
    "cancelled": "The order was cancelled before.",
    "returned": "The order was returned before.",
}
WHY_NO_RETURN = {
    "pending": "The order is not confirmed yet, so there is nothing to return. You can cancel it instead.",
    "confirmed": "The parcel has not been sent yet, so there is nothing to return. You can cancel the order instead.",
    "cancelled": "The order was cancelled.",
    "returned": "The order was returned before.",
}
_NOT_CANCELLED = {
    ON_ITS_WAY: "Your parcel is on its way already, so your order stands. You can return it when you have it.",
    "lock_timeout": "We did not come to it in time, so your order stands. You can ask once more.",
    "deadline": "We could not stop your parcel in time, so your order stands. You can ask once more.",
}
WHY_NO_OTHER_ADDRESS = {
    "shipped": "The parcel is on its way, so its address can no longer be changed.",
    "delivered": "The parcel has arrived, so its address can no longer be changed.",
    "cancelled": "The order was cancelled.",
    "returned": "The order was returned.",
}
WHY_ANOTHER_ADDRESS_WAITS = "Another change of the address is under way. Ask again when it is done."
_NOT_READDRESSED = {
    ON_ITS_WAY: "Your parcel is on its way already, so it goes to the address it had.",
    "booking_refused": "The parcel service does not deliver to that address, so your parcel goes to the one it had.",
}
_NOT_RETURNED = {
    "timed_out": "Your parcel did not come back to us in time. If you still want to return it, ask once more.",
    NOT_ACCEPTED: "We looked at what you sent back and cannot take it",
}


def why_cancelled(code: str, said: str = "") -> str:
    """A sentence for the shopper for the ``code`` of a refusal; never the technical message behind it.

    ``said`` is repeated only where the shopper said it.
    """
    return because_you_asked(said) if code == ASKED_TO_CANCEL else _REASONS.get(code, _OTHERWISE)


def because_you_asked(said: str) -> str:
    return f"You asked us to cancel it: “{said}”." if said else "You asked us to cancel it."


def why_not_cancelled(code: str) -> str:
    """Why a cancellation came to nothing."""
    return _NOT_CANCELLED.get(code, "We could not cancel your order, so it stands.")


def why_not_readdressed(code: str) -> str:
    """Why a change of address came to nothing."""
    otherwise = "We could not change the address, so your parcel goes to the one it had. You can ask once more."
    return _NOT_READDRESSED.get(code, otherwise)


def why_not_returned(code: str, said: str = "") -> str:
    """Why a return came to nothing; ``said`` is what the person said who inspected the goods."""
    sentence = _NOT_RETURNED.get(code, "We could not complete your return. Your order stands as it was.")
    return f"{sentence}: {said}" if code == NOT_ACCEPTED else sentence
