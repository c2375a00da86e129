import pytest
from django.urls import reverse

from money import Money
from payments import services
from payments.models import GatewayEvent, Payment, Refund

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows():
    services.open_payment("S-1", Money(1999, "EUR"), "pm_card_visa", key="key-1")
    payment = Payment.objects.get()
    return [
        payment,
        Refund.objects.create(payment=payment, refund_reference="R-1", status="UNKNOWN", amount=5),
        GatewayEvent.objects.create(event_id="evt_1", kind="payment_intent.succeeded", payload="{}"),
    ]


def test_payments_are_shown_and_cannot_be_touched_even_by_a_superuser(admin_client, rows):
    for row in rows:
        name = f"admin:payments_{row._meta.model_name}"
        assert admin_client.get(reverse(f"{name}_changelist")).status_code == 200
        assert admin_client.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
        assert admin_client.post(reverse(f"{name}_change", args=[row.pk]), {}).status_code == 403
        assert admin_client.post(reverse(f"{name}_delete", args=[row.pk]), {}).status_code == 403
        assert admin_client.get(reverse(f"{name}_add")).status_code == 403


def test_a_payment_is_found_by_its_order_number(admin_client, rows):
    page = admin_client.get(reverse("admin:payments_payment_changelist"), {"q": "S-1"})

    assert page.context["cl"].result_count == 1
    assert admin_client.get(reverse("admin:payments_payment_changelist"), {"q": "S-2"}).context["cl"].result_count == 0
