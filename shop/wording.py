"""Why an order was cancelled, in the shopper's words."""

_REASONS = {
    "card_declined": "Your bank declined the card.",
    "generic_decline": "Your bank declined the card.",
    "insufficient_funds": "Your bank declined the card: there is not enough money on the account.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The security code of the card was not right.",
    "processing_error": "The bank could not process the card.",
    "out_of_stock": "Somebody else was faster: not everything you ordered is still in stock.",
    "booking_refused": "The parcel service does not deliver to this address.",
    "deadline": "We could not finish your order in time.",
    "cancelled": "You asked us to cancel it.",
}
_OTHERWISE = "We could not complete your order."


def why_cancelled(code: str) -> str:
    """A sentence for the shopper for the ``code`` of a refusal; never the technical message behind it."""
    return _REASONS.get(code, _OTHERWISE)
