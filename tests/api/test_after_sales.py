"""Cancelling and returning over the API: who may, what is answered, and that a refusal changes nothing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from sagas.models import SagaInstance, Signal
from sandbox.webhooks import easypost_headers
from shipping import services as shipping
from shop.models import Order, Product
from tests.api.conftest import fields_at_fault, place

pytestmark = pytest.mark.django_db


@pytest.fixture
def adas(mug: Product, ada: User) -> Order:
    client = APIClient()
    client.force_authenticate(ada)
    return Order.objects.get(number=place(client).json()["number"])


@pytest.fixture
def as_ada(ada: User) -> APIClient:
    client = APIClient()
    client.force_authenticate(ada)
    return client


def let_checkout_end(order: Order, status: str) -> None:
    """As if the checkout had run: nobody holds the order."""
    SagaInstance.objects.filter(business_key=order.number).delete()
    Order.objects.filter(pk=order.pk).update(status=status)


def ask(client: APIClient, order: Order, what: str, body: Any = None, **headers: str) -> Any:
    return client.post(f"/api/v1/orders/{order.number}/{what}/", body or {}, format="json", headers=headers)


def staff(user: User, *codenames: str) -> APIClient:
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = APIClient()
    client.force_authenticate(User.objects.get(pk=user.pk))
    return client


def nothing_was_asked(order: Order) -> bool:
    sagas = SagaInstance.objects.filter(business_key__startswith=order.number)
    return not sagas.exclude(definition="shop.checkout").exists() and not sagas.filter(backward=True).exists()


def test_the_owner_cancels_a_confirmed_order(as_ada: APIClient, adas: Order) -> None:
    let_checkout_end(adas, "confirmed")

    response = ask(as_ada, adas, "cancel", {"reason": "found it"})

    saga = SagaInstance.objects.get(definition="shop.cancel_order")
    assert response.status_code == 202
    assert response.json() == {"saga": str(saga.pk), "definition": "shop.cancel_order", "status": "PENDING"}
    assert saga.data == {"order_number": adas.number, "reason": "found it"}
    document = as_ada.get(f"/api/v1/orders/{adas.number}/").json()
    assert document["asked_for"] == {"what": "cancel", "saga": str(saga.pk), "status": "PENDING", "message": ""}
    assert document["in_progress"]["holder"] == "shop.cancel_order"


def test_a_repetition_is_answered_with_the_same_saga(as_ada: APIClient, adas: Order) -> None:
    let_checkout_end(adas, "confirmed")

    answers = [ask(as_ada, adas, "cancel").json() for _ in range(3)]

    assert answers[0] == answers[1] == answers[2]
    assert SagaInstance.objects.count() == 1


def test_a_checkout_under_way_is_turned_back(as_ada: APIClient, adas: Order) -> None:
    response = ask(as_ada, adas, "cancel")

    checkout = SagaInstance.objects.get()
    assert (response.status_code, response.json()["saga"]) == (202, str(checkout.pk))
    assert response.json()["definition"] == "shop.checkout"
    assert checkout.backward


def test_the_access_token_is_enough(adas: Order, api: APIClient, mug: Product) -> None:
    placed = place(api).json()
    order = Order.objects.get(number=placed["number"])

    assert ask(api, order, "cancel").status_code == 404
    assert ask(api, order, "cancel", **{"X-Order-Token": placed["access_token"]}).status_code == 202


@pytest.mark.parametrize("what", ["cancel", "returns", "returns/received", "returns/inspection"])
def test_somebody_elses_order_is_answered_like_one_that_does_not_exist(
    api: APIClient, adas: Order, grace: User, what: str
) -> None:
    let_checkout_end(adas, "delivered")
    api.force_authenticate(grace)

    foreign = ask(api, adas, what, {"accepted": True})
    unknown = ask(api, Order(number="S-2222222222"), what, {"accepted": True})

    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert foreign.json() | {"instance": ""} == unknown.json() | {"instance": ""}
    assert nothing_was_asked(adas)
    assert not Signal.objects.exists()


def test_staff_need_the_permission_to_change_orders(adas: Order, grace: User) -> None:
    let_checkout_end(adas, "confirmed")

    statuses = [
        ask(staff(grace, *codenames), adas, "cancel").status_code
        for codenames in ([], ["view_order"], ["view_order", "change_order"])
    ]

    assert statuses == [404, 403, 202]


@pytest.mark.parametrize(
    ("status", "what", "instead"),
    [
        ("shipped", "cancel", "return"),
        ("delivered", "cancel", "return"),
        ("returned", "cancel", None),
        ("confirmed", "returns", "cancel"),
        ("returned", "returns", None),
    ],
)
def test_what_does_not_fit_is_a_409_that_says_what_to_do_instead(
    as_ada: APIClient, adas: Order, status: str, what: str, instead: str | None
) -> None:
    let_checkout_end(adas, status)

    response = ask(as_ada, adas, what)

    problem = response.json()
    assert (response.status_code, problem["type"]) == (409, "/problems/not-for-this-order")
    assert (problem["instead"], problem["in_progress"]) == (instead, None)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert nothing_was_asked(adas)


def test_the_refusal_says_who_holds_the_order(as_ada: APIClient, adas: Order) -> None:
    let_checkout_end(adas, "confirmed")
    ask(as_ada, adas, "cancel")

    problem = ask(as_ada, adas, "returns").json()

    assert problem["in_progress"]["holder"] == "shop.cancel_order"
    assert problem["in_progress"]["step"] == "check_confirmed"
    assert problem["instead"] == "cancel"


def test_a_reason_is_one_line_of_at_most_200_characters(as_ada: APIClient, adas: Order) -> None:
    for reason in ("x" * 201, "a\nb", 7):
        assert fields_at_fault(ask(as_ada, adas, "cancel", {"reason": reason})) == ["reason"]

    assert nothing_was_asked(adas)


def test_a_sent_order_is_returned_and_staff_tell_of_the_parcel(as_ada: APIClient, adas: Order, grace: User) -> None:
    let_checkout_end(adas, "delivered")
    asked = ask(as_ada, adas, "returns", {"reason": "too heavy"})
    clerk = staff(grace, "view_order", "handle_returns")

    received = [ask(clerk, adas, "returns/received") for _ in range(2)]
    verdict = {"accepted": True, "broken": [{"sku": "MUG-1", "quantity": 1}]}
    inspected = ask(clerk, adas, "returns/inspection", verdict)

    assert (asked.status_code, asked.json()["definition"]) == (202, "shop.return")
    assert [answer.status_code for answer in received] == [202, 202]
    assert (inspected.status_code, inspected.json()["saga"]) == (202, asked.json()["saga"])
    assert list(Signal.objects.order_by("id").values_list("name", "payload")) == [
        ("parcel_back", {"told_by": "grace@example.org"}),
        (
            "inspect_goods",
            {"accepted": True, "inspector": "grace@example.org", "reason": "", "broken": {"MUG-1": 1}},
        ),
    ]


@pytest.mark.parametrize("what", ["returns/received", "returns/inspection"])
def test_only_staff_who_may_handle_returns_tell_of_a_parcel(
    as_ada: APIClient, adas: Order, grace: User, what: str
) -> None:
    let_checkout_end(adas, "delivered")
    ask(as_ada, adas, "returns")

    by_owner = ask(as_ada, adas, what, {"accepted": True})
    by_other_staff = ask(staff(grace, "view_order", "change_order"), adas, what, {"accepted": True})

    assert (by_owner.status_code, by_other_staff.status_code) == (403, 403)
    assert not Signal.objects.exists()


@pytest.mark.parametrize(
    ("verdict", "field"),
    [
        ({}, "accepted"),
        ({"accepted": False}, "reason"),
        ({"accepted": True, "broken": [{"sku": "MUG-1", "quantity": 3}]}, "broken.0.sku"),
        ({"accepted": True, "broken": [{"sku": "KETTLE", "quantity": 1}]}, "broken.0.sku"),
        (
            {"accepted": True, "broken": [{"sku": "MUG-1", "quantity": 2}, {"sku": "MUG-1", "quantity": 1}]},
            "broken.0.sku",
        ),
        ({"accepted": True, "broken": [{"sku": "MUG-1", "quantity": 0}]}, "broken.0.quantity"),
    ],
)
def test_a_verdict_that_cannot_be_right_names_its_field(
    as_ada: APIClient, adas: Order, grace: User, verdict: Any, field: str
) -> None:
    let_checkout_end(adas, "delivered")
    ask(as_ada, adas, "returns")

    response = ask(staff(grace, "view_order", "handle_returns"), adas, "returns/inspection", verdict)

    assert response.status_code == 400
    assert fields_at_fault(response) == [field]
    assert not Signal.objects.exists()


def test_a_second_verdict_and_news_of_no_return_are_409(as_ada: APIClient, adas: Order, grace: User) -> None:
    let_checkout_end(adas, "delivered")
    clerk = staff(grace, "view_order", "handle_returns")

    assert ask(clerk, adas, "returns/received").status_code == 409
    ask(as_ada, adas, "returns")
    assert ask(clerk, adas, "returns/inspection", {"accepted": True}).status_code == 202
    second = ask(clerk, adas, "returns/inspection", {"accepted": False, "reason": "no"})

    assert (second.status_code, second.json()["detail"]) == (
        409,
        "The return was inspected before; nothing was changed.",
    )
    assert Signal.objects.count() == 1


def test_the_carriers_news_of_a_parcel_that_came_back_is_kept_for_its_return(
    api: APIClient, as_ada: APIClient, adas: Order, settings: Any
) -> None:
    settings.CARRIER_WEBHOOK_SECRETS = ["whsec_now"]
    let_checkout_end(adas, "shipped")
    shipping.open_shipment(adas.number, shipping.Address("Ada", "1 St", "Dublin", "D02", "IE"), 600)
    shipping.record_booked(adas.number, shipping.Booking("shp_1", "TRACK1", "SandboxPost"))

    for event in ("evt_1", "evt_1", "evt_2"):
        result = {"tracking_code": "TRACK1", "status": "return_to_sender", "message": ""}
        body = json.dumps({"id": event, "created_at": datetime.now(UTC).isoformat(), "result": result}).encode()
        answer = api.generic(
            "POST",
            "/api/v1/webhooks/shipping/",
            body,
            content_type="application/json",
            headers=easypost_headers("whsec_now")(body),
        )
        assert answer.status_code == 204

    signal = Signal.objects.get()
    assert (signal.definition, signal.business_key, signal.name) == ("shop.return", adas.number, "parcel_back")
    assert signal.payload == {"told_by": "carrier"}
