"""Lists of payments that have grown: found by an index, and counted to a bound."""

import pytest

from payments.models import Payment, Refund
from tests.plans_of_lists import fill, plans, reads

pytestmark = pytest.mark.django_db


@pytest.fixture
def many() -> None:
    fill(
        "payments_payment",
        "reference, status, amount, currency, payment_method, authorization_key, intent_id, authorized_amount,"
        " captured_amount, refunded_amount, decline_code, decline_message, created_at, updated_at",
        "'S-' || n, CASE n % 1000 WHEN 0 THEN 'DECLINED' ELSE 'CAPTURED' END, 5, 'EUR', '', '', 'pi_' || n, 5,"
        " CASE n % 1000 WHEN 0 THEN 0 ELSE 5 END, 0, '', '', now(), now()",
    )
    fill(
        "payments_refund",
        "payment_id, refund_reference, status, amount, refund_id, created_at, updated_at",
        "(SELECT min(id) FROM payments_payment) + n - 1, 'R-' || n,"
        " CASE n % 1000 WHEN 0 THEN 'FAILED' ELSE 'SUCCEEDED' END, 5, 're_' || n, now(), now()",
    )
    fill(
        "payments_gatewayevent",
        "event_id, kind, payload, reference, status, note, received_at",
        "'evt_' || n, 'payment', '{}', 'S-' || n, CASE n % 1000 WHEN 0 THEN 'OPEN' ELSE 'APPLIED' END, '', now()",
    )


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("payment", "q=S-77"),
        ("payment", "q=pi_77"),
        ("payment", "status__exact=DECLINED"),
        ("refund", "q=R-77"),
        ("refund", "q=S-77"),
        ("refund", "status__exact=FAILED"),
        ("gatewayevent", "q=evt_77"),
        ("gatewayevent", "q=S-77"),
        ("gatewayevent", "status__exact=OPEN"),
    ],
)
def test_what_is_asked_of_a_list_is_found_by_an_index(admin_client, many, name, query):
    plan = plans(admin_client, f"/admin/payments/{name}/?{query}", f"payments_{name}")

    assert "Seq Scan" not in plan
    assert "Index" in plan


@pytest.mark.parametrize("query", ["", "?status__exact=CAPTURED", "?p=10"])
def test_no_list_is_read_or_counted_to_its_end(admin_client, many, query):
    assert all("LIMIT" in sql for sql in reads(admin_client, f"/admin/payments/payment/{query}", "payments_payment"))
    page = admin_client.get(f"/admin/payments/payment/{query}")
    assert "More than 1,000 payments: search or filter" in page.content.decode()


def test_a_refund_is_found_by_its_payment_and_by_its_own_reference(admin_client):
    payments = [
        Payment.objects.create(reference=name, status="DECLINED", amount=5, currency="EUR") for name in ("S-1", "S-2")
    ]
    for payment in payments:
        Refund.objects.create(payment=payment, refund_reference=f"R{payment}", status="UNKNOWN", amount=5)

    def found(term):
        page = admin_client.get("/admin/payments/refund/", {"q": term})
        return [refund.refund_reference for refund in page.context["cl"].result_list]

    assert (found("S-1"), found("RS-2"), found("S-3"), found("")) == (["RS-1"], ["RS-2"], [], ["RS-2", "RS-1"])
