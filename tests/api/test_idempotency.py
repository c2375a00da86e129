"""One key, one order: in sequence, at the same time, for other people, and after a refusal."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.test import override_settings
from rest_framework.test import APIClient

from shop.models import Category, IdempotencyKey, Order, Product
from tests.api.conftest import add_product, fields_at_fault, order_body, place
from tests.holding import act_for_holder_of

KEY = "8f14e45f-ceea-467f-a9d4-3c2f1b0a5d6e"


def test_the_same_request_gets_the_same_answer(api: APIClient, mug: Product) -> None:
    first = place(api, key=KEY)
    act_for_holder_of(Order.objects.get().number)
    Order.objects.update(status="confirmed")
    Product.objects.update(price_amount=1)

    second = place(api, key=KEY)

    assert second.content == first.content
    assert (second.status_code, second.headers["Location"]) == (202, first.headers["Location"])
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert Order.objects.count() == 1


def test_the_order_of_members_does_not_make_another_request(api: APIClient, mug: Product) -> None:
    place(api, key=KEY)

    second = place(api, dict(reversed(order_body().items())), key=KEY)

    assert second.status_code == 202
    assert Order.objects.count() == 1


@pytest.mark.parametrize("change", [{"email": "eve@example.org"}, {"payment_token": "pm_other"}, {"note": "new"}])
def test_the_same_key_with_another_body_is_refused(api: APIClient, mug: Product, change: dict[str, str]) -> None:
    place(api, key=KEY)

    response = place(api, order_body(**change), key=KEY)

    assert response.status_code == 422
    assert response.json()["type"] == "/problems/idempotency-key-reused"
    assert fields_at_fault(response) == ["Idempotency-Key"]
    assert Order.objects.count() == 1


def test_another_key_makes_another_order(api: APIClient, mug: Product) -> None:
    numbers = {place(api).json()["number"] for _ in range(2)}

    assert len(numbers) == 2


def test_somebody_elses_key_never_gets_their_answer(api: APIClient, mug: Product, ada: User, grace: User) -> None:
    guest = place(api, key=KEY).json()
    api.force_authenticate(ada)
    hers = place(api, key=KEY).json()
    api.force_authenticate(grace)
    others = place(api, key=KEY).json()

    assert len({guest["number"], hers["number"], others["number"]}) == 3
    assert len({guest["access_token"], hers["access_token"], others["access_token"]}) == 3


def test_a_refused_request_leaves_its_key_free(api: APIClient, mug: Product) -> None:
    too_many = order_body(lines=[{"sku": "MUG-1", "quantity": 11}])
    assert place(api, too_many, key=KEY).status_code == 409

    assert place(api, key=KEY).status_code == 202


def test_the_database_holds_neither_the_key_nor_the_access_token(api: APIClient, mug: Product) -> None:
    token = place(api, key=KEY).json()["access_token"]

    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text FROM shop_idempotencykey k")
        [(key_row,)] = cursor.fetchall()
        cursor.execute("SELECT row_to_json(o)::text FROM shop_order o")
        [(order_row,)] = cursor.fetchall()
    assert KEY not in key_row
    assert token not in key_row + order_row


@pytest.mark.django_db(transaction=True)
@override_settings(API_REQUESTS_PER_MINUTE={"orders": 1_000, "login": 1_000})
def test_twenty_at_once_with_one_key_make_one_order_and_get_one_answer() -> None:
    add_product("MUG-1", category=Category.objects.create(name="Kitchen", slug="kitchen"))
    together = threading.Barrier(20)

    def order(_: int) -> Any:
        together.wait(timeout=30)
        try:
            return place(APIClient(), key=KEY)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(order, range(20)))

    assert {response.status_code for response in responses} == {202}
    assert len({response.content for response in responses}) == 1
    assert sum("Idempotency-Replayed" not in response.headers for response in responses) == 1
    assert (Order.objects.count(), IdempotencyKey.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_key_whose_first_request_takes_long_is_in_use() -> None:
    add_product("MUG-1", category=Category.objects.create(name="Kitchen", slug="kitchen"))

    def second(_: str) -> Any:
        try:
            return place(APIClient(), key=KEY)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        IdempotencyKey.objects.create(
            caller="guest",
            operation="POST /api/v1/orders/",
            key=hashlib.sha256(KEY.encode()).hexdigest(),
            fingerprint="of a request still under way",
        )
        [response] = pool.map(second, ["once"])

    assert response.status_code == 409
    assert response.json()["type"] == "/problems/idempotency-key-in-use"
    assert response.headers["Retry-After"] == "1"
    assert Order.objects.count() == 0
