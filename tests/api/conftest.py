"""A small shop and a client of its API."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from inventory import services as inventory
from shop.models import Category, Product


def add_product(sku: str, *, stock: int = 10, price: int = 1999, category: Category, **values: Any) -> Product:
    product = Product.objects.create(
        sku=sku,
        name=values.pop("name", sku.title()),
        slug=sku.lower(),
        category=category,
        price_amount=price,
        weight_grams=300,
        **values,
    )
    if stock:
        inventory.receive(sku, stock, note="first delivery")
    return product


@pytest.fixture
def kitchen(db: None) -> Category:
    return Category.objects.create(name="Kitchen", slug="kitchen")


@pytest.fixture
def mug(kitchen: Category) -> Product:
    return add_product("MUG-1", stock=10, price=1999, category=kitchen, name="Mug")


@pytest.fixture
def api() -> APIClient:
    return APIClient()


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada@example.org", "ada@example.org")


@pytest.fixture
def grace(db: None) -> User:
    return User.objects.create_user("grace@example.org", "grace@example.org")


def order_body(**changes: Any) -> dict[str, Any]:
    return {
        "email": "ada@example.org",
        "lines": [{"sku": "MUG-1", "quantity": 2}],
        "shipping_address": {
            "name": "Ada Lovelace",
            "line1": "12 St James's Square",
            "city": "Dublin",
            "postal_code": "D02",
            "country": "IE",
        },
        "payment_token": "pm_card_visa",
        **changes,
    }


def place(api: APIClient, body: Any = None, key: str | None = None, **headers: str) -> Any:
    return api.post(
        "/api/v1/orders/",
        order_body() if body is None else body,
        format="json",
        headers={"Idempotency-Key": key or str(uuid4()), **headers},
    )


def fields_at_fault(response: Any) -> list[str | None]:
    """The fields a problem document names; it is one, or this fails."""
    document = response.json()
    assert response.headers["Content-Type"] == "application/problem+json"
    assert document["status"] == response.status_code
    assert {"type", "title", "detail", "instance", "errors"} <= set(document)
    return [error["field"] for error in document["errors"]]
