"""What inventory tells: how much can be sold, and whether the books balance."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection

from inventory.models import StockItem


@dataclass(frozen=True, slots=True)
class StockViolation:
    """A stock invariant that does not hold: which, for what, and the two figures that disagree."""

    rule: str
    subject: str
    found: int
    expected: int


# Each query returns subject, found, expected for the rows that break its rule.
_RULES = {
    "on_hand is the sum of the ledger": """
        SELECT item.sku, item.on_hand, coalesce(sum(movement.delta), 0)
          FROM inventory_stockitem item LEFT JOIN inventory_stockmovement movement USING (sku)
         GROUP BY item.sku, item.on_hand
        HAVING item.on_hand <> coalesce(sum(movement.delta), 0)
    """,
    "reserved is the sum of the held reservations": """
        SELECT item.sku, item.reserved, coalesce(held.quantity, 0)
          FROM inventory_stockitem item
          LEFT JOIN (SELECT line.sku, sum(line.quantity) AS quantity
                       FROM inventory_reservationline line JOIN inventory_reservation r ON r.id = line.reservation_id
                      WHERE r.status = 'HELD' GROUP BY line.sku) held USING (sku)
         WHERE item.reserved <> coalesce(held.quantity, 0)
    """,
    "what was committed has left, once": """
        SELECT r.reference || ' ' || line.sku, coalesce(-movement.delta, 0), line.quantity
          FROM inventory_reservation r JOIN inventory_reservationline line ON line.reservation_id = r.id
          LEFT JOIN inventory_stockmovement movement
            ON movement.reference = r.reference AND movement.sku = line.sku AND movement.kind = 'SHIPPED'
         WHERE (CASE r.status WHEN 'COMMITTED' THEN line.quantity ELSE 0 END) <> coalesce(-movement.delta, 0)
    """,
    "no more came back than left": """
        SELECT reference || ' ' || sku, sum(delta), 0 FROM inventory_stockmovement
         WHERE kind IN ('SHIPPED', 'RETURNED') GROUP BY reference, sku HAVING sum(delta) > 0
    """,
}


def available(skus: Iterable[str]) -> dict[str, int]:
    """How many of each sku can still be reserved; 0 for one that does not exist."""
    amounts = dict.fromkeys(skus, 0)
    for item in StockItem.objects.filter(sku__in=list(amounts)):
        amounts[item.sku] = item.available
    return amounts


def stock_violations() -> list[StockViolation]:
    """Every row that breaks a stock invariant; empty when the books balance."""
    violations = []
    with connection.cursor() as cursor:
        for rule, query in _RULES.items():
            cursor.execute(query)
            violations += [StockViolation(rule, *row) for row in cursor.fetchall()]
    return violations
