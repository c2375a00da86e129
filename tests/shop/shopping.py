"""What shoppers do, in one line each."""

from typing import Any

from django.test import Client

from inventory import services as inventory
from sagas.models import SagaInstance
from shop.models import Category, Order, Product
from shop.services import Address, place_order

ADDRESS = Address(name="Ada Lovelace", line1="Main Street 1", city="Berlin", postal_code="10115", country="DE")
FORM = {
    "email": "ada@example.org",
    "name": "Ada Lovelace",
    "line1": "Main Street 1",
    "line2": "",
    "postal_code": "10115",
    "city": "Berlin",
    "country": "DE",
    "payment_method": "pm_card_visa",
}


def add_product(sku: str, *, category: Category, stock: int = 10, price: int = 1999, **values: Any) -> Product:
    values = {"name": sku.title(), "slug": sku.lower(), "weight_grams": 300, **values}
    product = Product.objects.create(sku=sku, category=category, price_amount=price, **values)
    if stock:
        inventory.receive(sku, stock, note="first delivery")
    return product


def put_in_cart(client: Client, product: Product, quantity: object = 1, **headers: str) -> Any:
    return client.post(f"/cart/add/{product.slug}/", {"quantity": quantity}, headers=headers)


def change_cart(client: Client, product: Product, quantity: object) -> Any:
    return client.post(f"/cart/change/{product.slug}/", {"quantity": quantity}, follow=True)


def cart_lines(client: Client) -> dict[str, int]:
    lines = client.get("/cart/").context["lines"]
    return {line.product.sku: line.quantity for line, _ in lines}


def seen_by(client: Client) -> str:
    """What the checkout's page shows, as its hidden field names it."""
    seen: str = client.get("/checkout/").context["seen"]
    return seen


def submit_checkout(client: Client, **changes: object) -> Any:
    """Look at the checkout's page, fill it in, and press the button."""
    return client.post("/checkout/", {**FORM, "seen": changes.pop("seen", None) or seen_by(client), **changes})


def place(*lines: tuple[str, int], **changes: Any) -> Order:
    """An order placed without any page."""
    wish: dict[str, Any] = {"email": "ada@example.org", "address": ADDRESS, "payment_method": "pm_card_visa"}
    order, _ = place_order(lines=lines, **wish | changes)
    return order


def nothing_was_ordered() -> bool:
    return not Order.objects.exists() and not SagaInstance.objects.exists()
