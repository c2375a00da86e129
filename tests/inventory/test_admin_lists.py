"""Lists of reservations and of the ledger that have grown are answered by an index."""

import pytest

from inventory.models import StockItem
from tests.plans_of_lists import fill, plans

pytestmark = pytest.mark.django_db


@pytest.fixture
def many() -> None:
    StockItem.objects.create(sku="MUG-1", on_hand=1)
    fill(
        "inventory_reservation",
        "reference, status, created_at, settled_at",
        "'S-' || n, CASE n % 1000 WHEN 0 THEN 'RELEASED' ELSE 'COMMITTED' END, now(), now()",
    )
    fill(
        "inventory_stockmovement",
        "sku, kind, delta, reference, return_reference, note, created_at",
        "'MUG-1', CASE n % 1000 WHEN 0 THEN 'RETURNED' ELSE 'SHIPPED' END, CASE n % 1000 WHEN 0 THEN 1 ELSE -1 END,"
        " 'S-' || n, CASE n % 1000 WHEN 0 THEN 'R-' || n ELSE '' END, '', now()",
    )


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("reservation", "q=S-77"),
        ("reservation", "status__exact=RELEASED"),
        ("stockmovement", "q=S-77"),
        ("stockmovement", "q=R-1000"),
        ("stockmovement", "q=no-such-sku"),
        ("stockmovement", "kind__exact=RETURNED"),
    ],
)
def test_what_is_asked_of_a_list_is_found_by_an_index(admin_client, many, name, query):
    plan = plans(admin_client, f"/admin/inventory/{name}/?{query}", f"inventory_{name}")

    assert "Seq Scan" not in plan
    assert "Index" in plan
