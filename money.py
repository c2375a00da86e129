"""Money: an amount in minor units (cents) with its ISO 4217 currency."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Self

# Digits after the decimal point, as the bank counts (https://docs.stripe.com/currencies); all others have two, also ISK
# and UGX, of which Stripe takes hundredths that ISO 4217 does not know.
_NONE = ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
_THREE = ["BHD", "JOD", "KWD", "OMR", "TND"]
_EXPONENTS = dict.fromkeys(_NONE, 0) | dict.fromkeys(_THREE, 3)


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount in minor units and its currency; sums of different currencies raise `ValueError`."""

    amount: int
    currency: str

    def __add__(self, other: Self) -> "Money":
        if other.currency != self.currency:
            raise ValueError(f"cannot add {other.currency} to {self.currency}")
        return Money(self.amount + other.amount, self.currency)

    def __mul__(self, quantity: int) -> "Money":
        return Money(self.amount * quantity, self.currency)

    @property
    def decimal(self) -> Decimal:
        """The amount in major units, exact: ``Money(1999, "EUR").decimal == Decimal("19.99")``."""
        return Decimal(self.amount).scaleb(-_EXPONENTS.get(self.currency, 2))

    def __str__(self) -> str:
        return f"{self.decimal} {self.currency}"
