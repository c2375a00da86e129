"""News from the bank and the carrier, as it comes in over HTTP."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from sagas.models import SagaEvent, SagaInstance, SagaStep
from sandbox.webhooks import easypost_headers, stripe_headers
from shipping import services as shipping
from shop.models import Order, Product
from shop.news import apply_shipment_news
from tests.api.conftest import place
from tests.holding import act_for_holder_of

SECRET = "whsec_now"


@pytest.fixture(autouse=True)
def secrets(settings: Any) -> None:
    settings.BANK_WEBHOOK_SECRETS = settings.CARRIER_WEBHOOK_SECRETS = [SECRET]


@pytest.fixture
def order(api: APIClient, mug: Product) -> Order:
    return Order.objects.get(number=place(api).json()["number"])


def end_the_saga(order: Order) -> None:
    """As if the checkout had run: confirmed, booked, and nobody holds the order."""
    SagaInstance.objects.filter(business_key=order.number).delete()
    Order.objects.filter(pk=order.pk).update(status="confirmed")
    shipping.open_shipment(order.number, shipping.Address("Ada", "1 St", "Dublin", "D02", "IE"), 600)
    shipping.record_booked(order.number, shipping.Booking("shp_1", "TRACK1", "SandboxPost"))


def post(api: APIClient, path: str, body: bytes, headers: dict[str, str]) -> Any:
    return api.generic("POST", path, body, content_type="application/json", headers=headers)


def tell_of_parcel(api: APIClient, status: str, event_id: str = "evt_1") -> Any:
    result = {"tracking_code": "TRACK1", "status": status, "message": ""}
    body = json.dumps({"id": event_id, "created_at": datetime.now(UTC).isoformat(), "result": result}).encode()
    return post(api, "/api/v1/webhooks/shipping/", body, easypost_headers(SECRET)(body))


def tell_of_payment(api: APIClient, reference: str) -> Any:
    intent = {"id": "pi_1", "object": "payment_intent", "metadata": {"reference": reference}}
    body = json.dumps({"id": "evt_9", "type": "payment_intent.processing", "data": {"object": intent}}).encode()
    return post(api, "/api/v1/webhooks/payments/", body, stripe_headers(SECRET)(body))


def test_a_parcel_on_its_way_makes_the_order_shipped_and_then_delivered(api: APIClient, order: Order):
    end_the_saga(order)

    assert tell_of_parcel(api, "in_transit", "evt_1").status_code == 204
    order.refresh_from_db()
    assert order.status == "shipped"

    assert tell_of_parcel(api, "delivered", "evt_2").status_code == 204
    assert tell_of_parcel(api, "out_for_delivery", "evt_3").status_code == 204
    order.refresh_from_db()
    assert order.status == "delivered"


@pytest.mark.parametrize("again", ["the carrier repeats it", "the carrier has given up"])
def test_parcel_news_waits_while_a_saga_holds_the_order(api: APIClient, order: Order, again: str):
    shipping.open_shipment(order.number, shipping.Address("Ada", "1 St", "Dublin", "D02", "IE"), 600)
    shipping.record_booked(order.number, shipping.Booking("shp_1", "TRACK1", "SandboxPost"))
    act_for_holder_of(order.number)
    Order.objects.filter(pk=order.pk).update(status="confirmed")

    answer = tell_of_parcel(api, "in_transit")

    assert answer.status_code == 503
    assert answer.json()["type"].endswith("order-in-progress")
    assert answer.headers["Retry-After"] == "30"
    order.refresh_from_db()
    assert order.status == "confirmed"

    SagaInstance.objects.filter(business_key=order.number).delete()
    if again == "the carrier repeats it":
        assert tell_of_parcel(api, "in_transit").status_code == 204
    else:
        assert apply_shipment_news() == 1
    order.refresh_from_db()
    assert order.status == "shipped"


def test_news_from_the_bank_ends_the_pause_of_the_saga_and_believes_nothing(api: APIClient, order: Order):
    saga = SagaInstance.objects.get(business_key=order.number)
    later = "2999-01-01T00:00:00+00:00"
    with transaction.atomic():
        for position, name in enumerate(["place_order", "validate_order", "reserve_stock"]):
            SagaStep.objects.create(
                saga=saga, position=position, name=name, kind="COMPENSATABLE", action="SUCCEEDED",
                compensation="NOT_NEEDED", updated_at=saga.created_at,
            )  # fmt: skip
        SagaStep.objects.create(
            saga=saga, position=3, name="authorize_payment", kind="COMPENSATABLE", action="UNKNOWN",
            compensation="NOT_NEEDED", failures=2, due_at=later, updated_at=saga.created_at,
        )  # fmt: skip
        SagaInstance.objects.filter(pk=saga.pk).update(
            status="WAITING", wake_at=later, waiting_on={"kind": "outcome", "step": "authorize_payment"}
        )

    assert tell_of_payment(api, order.number).status_code == 204

    saga.refresh_from_db()
    assert saga.status == "RUNNING"
    assert saga.wake_at.year < 2999
    step = saga.steps.get(position=3)
    assert (step.action, step.failures) == ("UNKNOWN", 2)
    event = SagaEvent.objects.filter(saga=saga).latest("id")
    assert (event.before, event.after, event.actor) == ("WAITING", "RUNNING", "outside")
    assert "evt_9" in event.why


@pytest.mark.parametrize("path", ["payments", "shipping"])
def test_a_forged_webhook_is_refused_and_changes_nothing(api: APIClient, order: Order, path: str):
    end_the_saga(order)
    body = json.dumps(
        {"id": "evt_1", "type": "x", "result": {"tracking_code": "TRACK1", "status": "delivered"}}
    ).encode()
    headers = {**stripe_headers("whsec_of_somebody_else")(body), **easypost_headers("whsec_of_somebody_else")(body)}

    answer = post(api, f"/api/v1/webhooks/{path}/", body, headers)

    assert answer.status_code == 400
    assert answer.json()["type"].endswith("webhook-invalid")
    order.refresh_from_db()
    assert order.status == "confirmed"
