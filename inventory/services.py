"""What may be done to stock. Every function is one local transaction, or joins its caller's.

Inserts and conditional updates decide, never a look before a write: two workers that come at
the same time cannot both win. Stock rows are locked in sku order, so two carts with the same
goods cannot deadlock.
"""

from collections.abc import Mapping

from django.db import connection, transaction
from django.db.models import Sum
from django.db.models.functions import Now

from inventory.exceptions import (
    AlreadyCommitted,
    AlreadyReleased,
    OutOfStock,
    ReservationMismatch,
    ReturnExceedsSale,
    UnknownReservation,
    UnknownSku,
)
from inventory.models import Reservation, ReservationLine, StockItem, StockMovement

Kind = StockMovement.Kind
Status = Reservation.Status

_CHANGE = """
    UPDATE inventory_stockitem AS item
       SET on_hand = item.on_hand + %(on_hand)s * line.quantity,
           reserved = item.reserved + %(reserved)s * line.quantity,
           updated_at = clock_timestamp()
      FROM unnest(%(skus)s::text[], %(quantities)s::integer[]) AS line (sku, quantity)
     WHERE item.sku = line.sku
"""

_RESERVE = """
    WITH reservation AS (
        INSERT INTO inventory_reservation (reference, status, created_at)
        VALUES (%(reference)s, 'HELD', clock_timestamp())
        ON CONFLICT (reference) DO NOTHING
        RETURNING id
    )
    INSERT INTO inventory_reservationline (reservation_id, sku, quantity)
    SELECT reservation.id, line.sku, line.quantity
      FROM reservation, unnest(%(skus)s::text[], %(quantities)s::integer[]) AS line (sku, quantity)
"""

_TOMBSTONE = """
    INSERT INTO inventory_reservation (reference, status, created_at, settled_at)
    VALUES (%s, 'RELEASED', clock_timestamp(), clock_timestamp())
    ON CONFLICT (reference) DO NOTHING
"""

_RECEIVE = """
    INSERT INTO inventory_stockitem (sku, on_hand, reserved, updated_at)
    VALUES (%s, %s, 0, clock_timestamp())
    ON CONFLICT (sku) DO UPDATE
       SET on_hand = inventory_stockitem.on_hand + EXCLUDED.on_hand, updated_at = clock_timestamp()
"""


@transaction.atomic
def receive(sku: str, quantity: int, note: str = "") -> int:
    """Put ``quantity`` new units of ``sku`` on the shelf; the first delivery creates the item.

    Returns the id of the line in the ledger, which `write_off` does too.
    """
    _check_quantities({sku: quantity})
    with connection.cursor() as cursor:
        cursor.execute(_RECEIVE, [sku, quantity])
    return StockMovement.objects.create(item_id=sku, kind=Kind.RECEIVED, delta=quantity, note=note).pk


@transaction.atomic
def reserve(reference: str, lines: Mapping[str, int]) -> None:
    """Promise all of ``lines`` (sku to quantity) to ``reference``, or nothing of it.

    Called twice with the same lines it does nothing the second time.
    Raises `OutOfStock`, `UnknownSku`, `ReservationMismatch`, and `AlreadyReleased` when
    the release of this reference has already been here.
    """
    _check_quantities(lines)
    with connection.cursor() as cursor:
        cursor.execute(_RESERVE, {"reference": reference, **_columns(lines)})
        inserted = cursor.rowcount
    if not inserted:
        _accept_repeat(reference, lines)
        return

    items = _lock(lines)
    for sku, quantity in lines.items():
        if items[sku].available < quantity:
            raise OutOfStock(sku, quantity, items[sku].available)
    _change(lines, reserved=+1)


@transaction.atomic
def release(reference: str) -> None:
    """Give back what ``reference`` holds; called again it does nothing.

    Called before `reserve` it leaves a tombstone that refuses the late reservation.
    Raises `AlreadyCommitted` when the goods have left.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TOMBSTONE, [reference])
        if cursor.rowcount:
            return

    if _settle(reference, Status.RELEASED):
        lines = _lines_of(reference)
        _lock(lines)
        _change(lines, reserved=-1)
    elif _status_of(reference) == Status.COMMITTED:
        raise AlreadyCommitted(reference)


@transaction.atomic
def commit(reference: str) -> None:
    """The reserved goods leave stock; called again it does nothing.

    Raises `AlreadyReleased`, and `UnknownReservation` when nothing was ever reserved.
    """
    if not _settle(reference, Status.COMMITTED):
        if _status_of(reference) == Status.RELEASED:
            raise AlreadyReleased(reference)
        return

    lines = _lines_of(reference)
    _lock(lines)
    _change(lines, on_hand=-1, reserved=-1)
    StockMovement.objects.bulk_create(
        StockMovement(item_id=sku, kind=Kind.SHIPPED, delta=-quantity, reference=reference)
        for sku, quantity in lines.items()
    )


@transaction.atomic
def restock(reference: str, lines: Mapping[str, int], *, return_reference: str) -> None:
    """Take goods sold under ``reference`` back, once for each ``return_reference`` and sku.

    Raises `ReturnExceedsSale` when more would come back than left.
    """
    _check_quantities(lines)
    _lock(lines)
    returned = StockMovement.objects.filter(kind=Kind.RETURNED, return_reference=return_reference)
    done: set[str] = set(returned.values_list("item__sku", flat=True))
    new = {sku: quantity for sku, quantity in lines.items() if sku not in done}
    sales = StockMovement.objects.filter(reference=reference, kind__in=[Kind.SHIPPED, Kind.RETURNED])
    outside: dict[str, int] = dict(sales.order_by().values_list("item__sku").annotate(total=-Sum("delta")))
    for sku, quantity in new.items():
        if quantity > outside.get(sku, 0):
            raise ReturnExceedsSale(reference, sku)

    _change(new, on_hand=+1)
    StockMovement.objects.bulk_create(
        StockMovement(
            item_id=sku, kind=Kind.RETURNED, delta=quantity, reference=reference, return_reference=return_reference
        )
        for sku, quantity in new.items()
    )


@transaction.atomic
def write_off(sku: str, quantity: int, note: str) -> int:
    """Remove broken or lost units that nobody was promised. Raises `OutOfStock`."""
    _check_quantities({sku: quantity})
    item = _lock([sku])[sku]
    if item.available < quantity:
        raise OutOfStock(sku, quantity, item.available)
    _change({sku: quantity}, on_hand=-1)
    return StockMovement.objects.create(item_id=sku, kind=Kind.WRITTEN_OFF, delta=-quantity, note=note).pk


def _check_quantities(lines: Mapping[str, int]) -> None:
    if not lines:
        raise ValueError("name at least one sku")
    for sku, quantity in lines.items():
        if not sku or not 0 < quantity <= 1_000_000:
            raise ValueError(f"quantity of {sku!r} must be between 1 and 1,000,000, not {quantity}")


def _lock(lines: Mapping[str, int] | list[str]) -> dict[str, StockItem]:
    """Lock the items in sku order, so that any two callers queue instead of deadlocking."""
    items = {
        item.sku: item
        for item in StockItem.objects.filter(sku__in=list(lines)).order_by("sku").select_for_update(no_key=True)
    }
    for sku in lines:
        if sku not in items:
            raise UnknownSku(sku)
    return items


def _change(lines: Mapping[str, int], *, on_hand: int = 0, reserved: int = 0) -> None:
    """Move the counters of rows this transaction has locked; the CHECK has the last word."""
    with connection.cursor() as cursor:
        cursor.execute(_CHANGE, {"on_hand": on_hand, "reserved": reserved, **_columns(lines)})


def _columns(lines: Mapping[str, int]) -> dict[str, list[str] | list[int]]:
    return {"skus": list(lines), "quantities": list(lines.values())}


def _settle(reference: str, status: Status) -> bool:
    changed = Reservation.objects.filter(reference=reference, status=Status.HELD).update(
        status=status, settled_at=Now()
    )
    return changed == 1


def _accept_repeat(reference: str, lines: Mapping[str, int]) -> None:
    if _status_of(reference) == Status.RELEASED:
        raise AlreadyReleased(reference)
    if _lines_of(reference) != dict(lines):
        raise ReservationMismatch(reference)


def _status_of(reference: str) -> str:
    try:
        return Reservation.objects.get(reference=reference).status
    except Reservation.DoesNotExist:
        raise UnknownReservation(reference) from None


def _lines_of(reference: str) -> dict[str, int]:
    rows = ReservationLine.objects.filter(reservation__reference=reference)
    return dict(rows.values_list("item__sku", "quantity"))
