"""Fields that take what they say and nothing that merely looks like it."""

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from money import Money
from shop.text import one_line

_LOOKS_LIKE_A_CARD = re.compile(r"\s*\d(?:[ -]?\d){11,18}\s*")


class Integer(serializers.IntegerField):
    """A JSON integer: no text, no fraction, and not ``true``, which Python takes for 1."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """A JSON string on one line; spaces around it are taken off."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        one_line(data)
        return super().to_internal_value(data)


class PaymentToken(Text):
    """A token the bank gave the client. Card numbers do not belong here, and are refused before they are stored."""

    default_error_messages = {
        "card_number": "This looks like a card number. Send the bank's token instead.",
        "spaces": "A token has no spaces.",
    }

    def to_internal_value(self, data: Any) -> str:
        token = super().to_internal_value(data)
        if _LOOKS_LIKE_A_CARD.fullmatch(token):
            self.fail("card_number")
        if not token.isascii() or " " in token:
            self.fail("spaces")
        return token


@extend_schema_field(
    {
        "type": "object",
        "required": ["amount", "currency"],
        "properties": {
            "amount": {"type": "string", "pattern": r"^-?\d+(\.\d+)?$", "example": "19.99"},
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217", "example": "EUR"},
        },
    }
)
class MoneyField(serializers.Field[Money, Any, dict[str, str], Any]):
    """Money as a decimal string with its currency; only told, never taken."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)

    def to_representation(self, value: Money) -> dict[str, str]:
        return {"amount": str(value.decimal), "currency": value.currency}
