"""Lists of shipments and of the carrier's events that have grown are answered by an index."""

import pytest

from tests.plans_of_lists import fill, plans

pytestmark = pytest.mark.django_db


@pytest.fixture
def many() -> None:
    fill(
        "shipping_shipment",
        "reference, status, name, line1, city, postal_code, country, weight_grams, shipment_id, tracking_code, carrier,"
        " tracking_status, refusal_code, refusal_message, created_at, updated_at",
        "'S-' || n, CASE n % 1000 WHEN 0 THEN 'REFUSED' ELSE 'BOOKED' END, '', '', '', '', '', 5, 'shp_' || n,"
        " 'T-' || n, '', CASE n % 1000 WHEN 1 THEN 'in_transit' ELSE 'delivered' END, '', '', now(), now()",
    )
    fill(
        "shipping_trackingevent",
        "event_id, tracking_code, tracking_status, message, payload, status, note, received_at",
        "'evt_' || n, 'T-' || n, '', '', '{}', CASE n % 1000 WHEN 0 THEN 'OPEN' ELSE 'APPLIED' END, '', now()",
    )


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("shipment", "q=S-77"),
        ("shipment", "q=T-77"),
        ("shipment", "status__exact=REFUSED"),
        ("shipment", "tracking_status__exact=in_transit"),
        ("trackingevent", "q=evt_77"),
        ("trackingevent", "q=T-77"),
        ("trackingevent", "status__exact=OPEN"),
    ],
)
def test_what_is_asked_of_a_list_is_found_by_an_index(admin_client, many, name, query):
    plan = plans(admin_client, f"/admin/shipping/{name}/?{query}", f"shipping_{name}")

    assert "Seq Scan" not in plan
    assert "Index" in plan
