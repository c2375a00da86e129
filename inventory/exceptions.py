"""What inventory says no to."""


class InventoryError(Exception):
    """Any refusal of this app."""


class UnknownSku(InventoryError):
    """There is no stock item with this sku."""

    def __init__(self, sku: str) -> None:
        self.sku = sku
        super().__init__(f"there is no stock item {sku!r}")


class OutOfStock(InventoryError):
    """More was wanted than is available; nothing was taken."""

    def __init__(self, sku: str, wanted: int, available: int) -> None:
        self.sku, self.wanted, self.available = sku, wanted, available
        super().__init__(f"{wanted} of {sku!r} wanted, {available} available")


class AlreadyReleased(InventoryError):
    """The reservation was released, perhaps before it was made: it can never be made again."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        super().__init__(f"the reservation {reference!r} was released")


class AlreadyCommitted(InventoryError):
    """The goods have left stock: `restock` them, a release comes too late."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        super().__init__(f"the reservation {reference!r} was committed; its goods have left stock")


class UnknownReservation(InventoryError):
    """Nothing was ever reserved under this reference."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        super().__init__(f"there is no reservation {reference!r}")


class ReservationMismatch(InventoryError):
    """The reference is taken by a reservation of other goods; nothing was changed."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        super().__init__(f"the reservation {reference!r} holds other goods than asked for now")


class ReturnExceedsSale(InventoryError):
    """More would come back than had left under this reference."""

    def __init__(self, reference: str, sku: str) -> None:
        self.reference, self.sku = reference, sku
        super().__init__(f"more of {sku!r} would be returned than was sold under {reference!r}")
