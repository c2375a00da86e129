"""What the shop refuses, and which part of the request is at fault."""

from dataclasses import dataclass


class ShopError(Exception):
    """Something the shop refuses; the text is for the person who asked."""


class OrderRefused(ShopError):
    """An order that cannot be placed. ``field`` names the part of the request at fault."""

    field = "lines"


class EmptyOrder(OrderRefused):
    def __str__(self) -> str:
        return "There is nothing in this order."


@dataclass(eq=False)
class TooManyLines(OrderRefused):
    most: int

    def __str__(self) -> str:
        return f"An order has at most {self.most} different products."


@dataclass(eq=False)
class UnknownProduct(OrderRefused):
    sku: str

    def __str__(self) -> str:
        return f"There is no product “{self.sku}” for sale."


@dataclass(eq=False)
class QuantityOutOfRange(OrderRefused):
    sku: str
    most: int

    def __str__(self) -> str:
        return f"The quantity of “{self.sku}” has to be between 1 and {self.most}."


@dataclass(eq=False)
class MixedCurrencies(OrderRefused):
    currencies: tuple[str, ...]

    def __str__(self) -> str:
        return f"One order has one currency, and these products have {' and '.join(self.currencies)}."


@dataclass(eq=False)
class NotEnoughStock(OrderRefused):
    sku: str
    name: str
    available: int

    def __str__(self) -> str:
        if not self.available:
            return f"“{self.name}” is sold out."
        return f"Only {self.available} of “{self.name}” are left."


@dataclass(eq=False)
class CartAlreadyOrdered(ShopError):
    """This cart became an order before: another tab, or a second click."""

    number: str

    def __str__(self) -> str:
        return f"This cart was ordered as {self.number}."


@dataclass(eq=False)
class CartChanged(ShopError):
    """The cart is not what the shopper saw when they pressed the button."""

    def __str__(self) -> str:
        return "Your cart changed while you were here. Please look at it once more before you order."


class UnknownOrder(ShopError):
    def __init__(self, number: str) -> None:
        super().__init__(f"There is no order {number}.")


@dataclass(eq=False)
class OrderCannotBecome(ShopError):
    """The order's status does not allow this move."""

    number: str
    status: str
    wanted: str

    def __str__(self) -> str:
        return f"Order {self.number} is {self.status}; it cannot become {self.wanted}."


@dataclass(eq=False)
class WishRefused(ShopError):
    """What was asked for does not fit where the order is. ``instead`` names what does: cancel, return, or nothing."""

    number: str
    why: str
    instead: str = ""

    def __str__(self) -> str:
        return self.why


@dataclass(eq=False)
class InspectionMismatch(ShopError):
    """An inspection names something that was not in the parcel."""

    sku: str
    bought: int

    def __str__(self) -> str:
        if not self.bought:
            return f"“{self.sku}” is not in this order."
        return f"At most {self.bought} of “{self.sku}” were bought."
