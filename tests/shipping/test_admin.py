import pytest
from django.urls import reverse

from shipping import services
from shipping.carrier import Address
from shipping.models import Shipment, TrackingEvent

pytestmark = pytest.mark.django_db


def test_shipments_are_shown_and_cannot_be_touched_even_by_a_superuser(admin_client):
    services.open_shipment("S-1", Address("Ada", "<b>Street</b>", "Berlin", "10115", "DE"), 1200)
    event = TrackingEvent.objects.create(event_id="evt_1", tracking_code="T", payload="{}", status="OPEN")

    for row in (Shipment.objects.get(), event):
        name = f"admin:shipping_{row._meta.model_name}"
        assert admin_client.get(reverse(f"{name}_changelist")).status_code == 200
        assert b"<b>Street" not in admin_client.get(reverse(f"{name}_change", args=[row.pk])).content
        assert admin_client.post(reverse(f"{name}_change", args=[row.pk]), {}).status_code == 403
        assert admin_client.post(reverse(f"{name}_delete", args=[row.pk]), {}).status_code == 403
        assert admin_client.get(reverse(f"{name}_add")).status_code == 403
