"""Money: an amount in minor units (cents) with its ISO 4217 currency."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Self

# ISO 4217: digits after the decimal point; every currency not named here has two.
_EXPONENTS = {"JPY": 0, "KRW": 0, "BHD": 3, "KWD": 3, "TND": 3}


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
