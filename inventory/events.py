"""What inventory tells. The subject is the reference that stock is kept for: the order's number."""

from dataclasses import dataclass

from sagas.choreography.services import event


@event("inventory.stock_reserved")
@dataclass(frozen=True, slots=True)
class StockReserved:
    """All of it is kept."""


@event("inventory.stock_refused")
@dataclass(frozen=True, slots=True)
class StockRefused:
    """Nothing of it is kept."""

    code: str
    message: str


@event("inventory.stock_taken")
@dataclass(frozen=True, slots=True)
class StockTaken:
    """The goods have left the stock for sale."""


@event("inventory.stock_released")
@dataclass(frozen=True, slots=True)
class StockReleased:
    """Nothing is kept any more; ``code`` and ``message`` are of what went wrong first."""

    code: str
    message: str
