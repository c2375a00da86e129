"""Who sees an order, and what it tells."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from shop.models import Category, Order, Product
from shop.services import cancel_order
from tests.api.conftest import add_product, order_body, place
from tests.holding import act_for_holder_of


@pytest.fixture
def adas(api: APIClient, mug: Product, ada: User) -> dict[str, Any]:
    """The answer to an order that Ada placed."""
    client = APIClient()
    client.force_authenticate(ada)
    answer: dict[str, Any] = place(client).json()
    return answer


def test_the_owner_sees_their_order(api: APIClient, adas: dict[str, Any], ada: User) -> None:
    api.force_authenticate(ada)

    response = api.get(f"/api/v1/orders/{adas['number']}/")

    document = response.json()
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert (document["number"], document["status"], document["failure"]) == (adas["number"], "pending", None)
    assert document["lines"] == [
        {
            "sku": "MUG-1",
            "name": "Mug",
            "quantity": 2,
            "unit_price": {"amount": "19.99", "currency": "EUR"},
            "total": {"amount": "39.98", "currency": "EUR"},
        }
    ]
    assert document["in_progress"] | {"since": "then"} == {
        "holder": "shop.checkout",
        "saga": adas["saga"],
        "since": "then",
        "step": "validate_order",
    }
    assert document["created_at"].endswith("Z")


def test_the_access_token_opens_the_order_for_a_guest(api: APIClient, adas: dict[str, Any]) -> None:
    response = api.get(f"/api/v1/orders/{adas['number']}/", headers={"X-Order-Token": adas["access_token"]})

    assert response.status_code == 200


def test_staff_see_an_order_only_with_the_permission(api: APIClient, adas: dict[str, Any], grace: User) -> None:
    api.force_authenticate(grace)
    statuses = []
    for is_staff, may_view in ((False, True), (True, False), (True, True)):
        grace.is_staff = is_staff
        grace.save()
        grace.user_permissions.set([Permission.objects.get(codename="view_order")] if may_view else [])
        api.force_authenticate(User.objects.get(pk=grace.pk))
        statuses.append(api.get(f"/api/v1/orders/{adas['number']}/").status_code)

    assert statuses == [404, 404, 200]


def test_somebody_elses_order_is_answered_like_one_that_does_not_exist(
    api: APIClient, adas: dict[str, Any], grace: User
) -> None:
    other = Order.objects.get(number=place(api).json()["number"])
    foreign, unknown = f"/api/v1/orders/{adas['number']}/", "/api/v1/orders/S-2222222222/"

    def answers(address: str, **headers: str) -> tuple[int, bytes, str]:
        response = api.get(address, headers=headers)
        said = response.content.replace(address.encode(), b"PATH")
        return response.status_code, said, response.headers["Content-Type"]

    as_guest = answers(foreign), answers(unknown)
    with_another_token = answers(foreign, **{"X-Order-Token": other.access_token_hash}), as_guest[1]
    api.force_authenticate(grace)
    as_grace = answers(foreign), answers(unknown)

    assert as_guest[0] == as_guest[1]
    assert with_another_token[0] == with_another_token[1]
    assert as_grace[0] == as_grace[1]
    assert as_guest[0][0] == 404


def test_a_cancelled_order_says_why(api: APIClient, adas: dict[str, Any], ada: User) -> None:
    act_for_holder_of(adas["number"])
    cancel_order(adas["number"], "Your bank declined the card.")
    api.force_authenticate(ada)

    document = api.get(f"/api/v1/orders/{adas['number']}/").json()

    assert document["status"] == "cancelled"
    assert document["failure"]["message"] == "Your bank declined the card."
    assert document["cancelled_at"] is not None


def test_an_order_of_ten_lines_costs_as_many_queries_as_one_of_one(
    api: APIClient, kitchen: Category, ada: User
) -> None:
    for number in range(10):
        add_product(f"CUP-{number}", category=kitchen)
    api.force_authenticate(ada)
    small = place(api, order_body(lines=[{"sku": "CUP-0", "quantity": 1}])).headers["Location"]
    lines = [{"sku": f"CUP-{number}", "quantity": 1} for number in range(10)]
    large = place(api, order_body(lines=lines)).headers["Location"]

    with CaptureQueriesContext(connection) as one:
        api.get(small)
    with CaptureQueriesContext(connection) as ten:
        assert len(api.get(large).json()["lines"]) == 10

    assert len(one) == len(ten)
    assert len(ten) <= 8
