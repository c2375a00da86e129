"""Placing orders: what is taken, what is refused, and that a refusal leaves nothing behind."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from rest_framework.test import APIClient

from sagas.models import SagaInstance
from shop.models import Category, IdempotencyKey, Order, OrderLine, Product
from tests.api.conftest import add_product, fields_at_fault, order_body, place


def nothing_was_stored() -> bool:
    return not (Order.objects.exists() or OrderLine.objects.exists() or IdempotencyKey.objects.exists())


def test_an_order_is_accepted_and_told_where_to_follow_it(api: APIClient, mug: Product) -> None:
    response = place(api)

    order = Order.objects.get()
    document = response.json()
    assert response.status_code == 202
    assert list(document) == ["number", "status", "total", "saga", "access_token"]
    assert document["number"] == order.number
    assert document["status"] == "pending"
    assert document["total"] == {"amount": "39.98", "currency": "EUR"}
    assert response.headers["Location"] == f"/api/v1/orders/{order.number}/"
    assert response.headers["Cache-Control"] == "no-store"
    followed = api.get(response.headers["Location"], headers={"X-Order-Token": document["access_token"]})
    assert followed.json()["in_progress"]["saga"] == document["saga"]


def test_the_order_keeps_who_where_and_what(api: APIClient, mug: Product, ada: User) -> None:
    api.force_authenticate(ada)

    place(api)

    order = Order.objects.get()
    assert (order.user, order.email, order.payment_method) == (ada, "ada@example.org", "pm_card_visa")
    assert (order.ship_name, order.ship_city, order.ship_country) == ("Ada Lovelace", "Dublin", "IE")
    assert list(order.lines.values_list("sku", "quantity", "unit_amount")) == [("MUG-1", 2, 1999)]


def test_a_price_sent_by_the_client_is_ignored(api: APIClient, mug: Product, ada: User) -> None:
    body = order_body(lines=[{"sku": "MUG-1", "quantity": 1, "price": "0.01", "unit_amount": 1, "currency": "USD"}])
    body |= {"total": {"amount": "0.01", "currency": "EUR"}, "total_amount": 1, "status": "confirmed", "user": ada.pk}
    body |= {"currency": "USD", "number": "S-MINE", "access_token_hash": "0", "is_staff": True, "cart": 1}

    response = place(api, body)

    order = Order.objects.get()
    assert response.json()["total"] == {"amount": "19.99", "currency": "EUR"}
    assert (order.total_amount, order.currency, order.status, order.user) == (1999, "EUR", "pending", None)
    assert order.number != "S-MINE"


def test_an_order_can_ask_to_be_carried_out_by_events(api: APIClient, mug: Product) -> None:
    response = place(api, order_body(mode="choreographed"))

    told = response.json()
    saga = SagaInstance.objects.get(pk=told["saga"])
    assert (response.status_code, saga.definition, saga.business_key) == (
        202,
        "shop.choreographed_checkout",
        told["number"],
    )
    followed = api.get(response.headers["Location"], headers={"X-Order-Token": told["access_token"]}).json()
    assert (followed["mode"], followed["in_progress"]["saga"]) == ("choreographed", told["saga"])


def test_an_order_that_does_not_say_is_carried_out_as_the_setting_says(
    api: APIClient, mug: Product, settings: Any
) -> None:
    place(api)
    settings.CHECKOUT_MODE = "choreographed"
    place(api)

    assert list(Order.objects.order_by("id").values_list("mode", flat=True)) == ["orchestrated", "choreographed"]


def test_a_setting_that_nobody_knows_stops_the_start(settings: Any) -> None:
    settings.CHECKOUT_MODE, settings.EVENTS_TRANSPORT = "telepathy", "pigeons"

    assert {"shop.E001", "sagas.E010"} <= {error.id for error in run_checks()}


def test_lines_with_the_same_sku_are_added_up(api: APIClient, mug: Product) -> None:
    place(api, order_body(lines=[{"sku": "MUG-1", "quantity": 2}, {"sku": "MUG-1", "quantity": 3}]))

    assert OrderLine.objects.get().quantity == 5


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lines": [{"sku": "MUG-1", "quantity": 0}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-1", "quantity": -1}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-1", "quantity": 100}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-1", "quantity": 10**30}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-1", "quantity": True}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-1", "quantity": 1.5}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-1", "quantity": 1.0}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-1", "quantity": "2"}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-1", "quantity": None}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-1"}]}, "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-1", "quantity": 98}, {"sku": "MUG-1", "quantity": 2}]}, "lines.0.quantity"),
        ({"lines": [{"sku": 7, "quantity": 1}]}, "lines.0.sku"),
        ({"lines": [{"sku": "MUG-\x00", "quantity": 1}]}, "lines.0.sku"),
        ({"lines": [{"sku": "\ud800", "quantity": 1}]}, "lines.0.sku"),
        ({"lines": [{"sku": "M" * 33, "quantity": 1}]}, "lines.0.sku"),
        ({"lines": [{"quantity": 1}]}, "lines.0.sku"),
        ({"lines": []}, "lines"),
        ({"lines": None}, "lines"),
        ({"lines": {"sku": "MUG-1"}}, "lines"),
        ({"lines": ["MUG-1"]}, "lines.0"),
        ({"lines": [{"sku": f"MUG-{number}", "quantity": 1} for number in range(51)]}, "lines"),
        ({"email": "ada"}, "email"),
        ({"email": "ada@"}, "email"),
        ({"email": ""}, "email"),
        ({"email": "ada@example.org\nBcc: all@example.org"}, "email"),
        ({"email": f"{'a' * 250}@example.org"}, "email"),
        ({"payment_token": "4242 4242 4242 4242"}, "payment_token"),
        ({"payment_token": "4242424242424242"}, "payment_token"),
        ({"payment_token": "p" * 101}, "payment_token"),
        ({"payment_token": ""}, "payment_token"),
        ({"mode": "telepathic"}, "mode"),
        ({"mode": "\ud800"}, "mode"),
        ({"not_read": ["\x00"]}, "not_read.0"),
        ({"\ud800": 1}, None),
        ({"shipping_address": None}, "shipping_address"),
        ({"shipping_address": "Dublin"}, "shipping_address"),
        ({"shipping_address": order_body()["shipping_address"] | {"country": "Ireland"}}, "shipping_address.country"),
        ({"shipping_address": order_body()["shipping_address"] | {"country": "\ud800"}}, "shipping_address.country"),
        ({"shipping_address": order_body()["shipping_address"] | {"\ud800": "x"}}, "shipping_address"),
        ({"shipping_address": order_body()["shipping_address"] | {"city": "D\nublin"}}, "shipping_address.city"),
        ({"shipping_address": order_body()["shipping_address"] | {"name": " "}}, "shipping_address.name"),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value)[:60],
)
def test_a_body_that_is_not_valid_names_the_field(
    api: APIClient, mug: Product, changes: dict[str, Any], field: str | None
) -> None:
    response = api.post(
        "/api/v1/orders/",
        json.dumps(order_body(**changes)),
        content_type="application/json",
        headers={"Idempotency-Key": "0123456789abcdef"},
    )

    assert response.status_code == 400
    assert response.json()["type"] == "/problems/invalid-request"
    assert fields_at_fault(response) == [field]
    assert nothing_was_stored()


def test_every_missing_member_is_named(api: APIClient, db: None) -> None:
    response = place(api, {})

    assert fields_at_fault(response) == ["email", "lines", "shipping_address", "payment_token"]


def test_a_sku_that_nobody_sells_is_named(api: APIClient, mug: Product) -> None:
    lines = [{"sku": "MUG-1", "quantity": 1}, {"sku": "NOPE", "quantity": 1}]

    response = place(api, order_body(lines=lines))

    assert response.status_code == 422
    assert response.json()["type"] == "/problems/unknown-product"
    assert fields_at_fault(response) == ["lines.1.sku"]
    assert nothing_was_stored()


def test_more_than_the_stock_is_refused_and_says_what_is_left(api: APIClient, mug: Product) -> None:
    response = place(api, order_body(lines=[{"sku": "MUG-1", "quantity": 11}]))

    assert response.status_code == 409
    assert response.json()["type"] == "/problems/out-of-stock"
    assert response.json()["available"] == 10
    assert fields_at_fault(response) == ["lines.0.quantity"]
    assert nothing_was_stored()


def test_products_of_two_currencies_are_not_one_order(api: APIClient, mug: Product, kitchen: Category) -> None:
    add_product("USD-1", category=kitchen, currency="USD")

    response = place(api, order_body(lines=[{"sku": "MUG-1", "quantity": 1}, {"sku": "USD-1", "quantity": 1}]))

    assert response.status_code == 422
    assert response.json()["type"] == "/problems/mixed-currencies"
    assert fields_at_fault(response) == ["lines"]
    assert nothing_was_stored()


@pytest.mark.parametrize(
    ("key", "slug"),
    [
        (None, "idempotency-key-missing"),
        ("", "idempotency-key-invalid"),
        ("too-short", "idempotency-key-invalid"),
        ("x" * 129, "idempotency-key-invalid"),
        ("with a space in it", "idempotency-key-invalid"),
    ],
)
def test_a_key_is_needed_and_has_a_form(api: APIClient, mug: Product, key: str | None, slug: str) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}

    response = api.post("/api/v1/orders/", order_body(), format="json", headers=headers)

    assert response.status_code == 400
    assert response.json()["type"] == f"/problems/{slug}"
    assert fields_at_fault(response) == ["Idempotency-Key"]
    assert nothing_was_stored()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1,",
        b'{"email": NaN}',
        b'{"email": Infinity}',
        b'{"email": 1e999}',
        b'{"email": "a", "email": "b"}',
        b'{"email": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 30_000,
        b"[" * 11 + b"]" * 11,
        b"1" * 5_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_json_is_refused(api: APIClient, mug: Product, body: bytes) -> None:
    response = api.post(
        "/api/v1/orders/",
        body,
        content_type="application/json",
        headers={"Idempotency-Key": "0123456789abcdef"},
    )

    assert response.status_code == 400
    assert response.json()["type"] == "/problems/broken-json"
    assert fields_at_fault(response) == [None]
    assert nothing_was_stored()


def test_a_body_that_is_json_but_not_an_object_is_refused(api: APIClient, mug: Product) -> None:
    assert fields_at_fault(place(api, [1, 2])) == [None]


def test_a_body_over_64_kib_is_refused_before_it_is_parsed(api: APIClient, mug: Product) -> None:
    response = place(api, order_body(note="x" * 65_536))

    assert response.status_code == 413
    assert response.json()["type"] == "/problems/too-large"
    assert fields_at_fault(response) == [None]
    assert nothing_was_stored()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_only_json_is_read(api: APIClient, mug: Product, content_type: str) -> None:
    response = api.post(
        "/api/v1/orders/",
        json.dumps(order_body()),
        content_type=content_type,
        headers={"Idempotency-Key": "0123456789abcdef"},
    )

    assert response.status_code == 415
    assert response.json()["type"] == "/problems/unsupported-media-type"
    assert nothing_was_stored()


def test_a_page_of_another_site_cannot_order_for_its_visitor(mug: Product, ada: User) -> None:
    browser = APIClient(enforce_csrf_checks=True)

    as_guest = place(browser, Origin="https://evil.example")
    browser.force_login(ada)
    as_ada = place(browser, Origin="https://evil.example")
    without_origin = place(browser)

    assert (as_guest.status_code, as_guest.json()["type"]) == (403, "/problems/foreign-origin")
    assert (as_ada.status_code, as_ada.json()["type"]) == (403, "/problems/foreign-origin")
    assert (without_origin.status_code, without_origin.json()["type"]) == (403, "/problems/permission-denied")
    assert nothing_was_stored()


def test_our_own_pages_order_for_guests(mug: Product) -> None:
    browser = APIClient(enforce_csrf_checks=True)

    assert place(browser, Origin="http://testserver").status_code == 202
