"""What the shop's pages and API read."""

import re
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db.models import QuerySet

from inventory import selectors as inventory
from sagas import selectors as sagas
from shop.models import PRODUCT_TEXT, Category, Order, Product

CHECKOUT = "shop.checkout"
CHOREOGRAPHED = "shop.choreographed_checkout"
CHECKOUTS = {Order.Mode.ORCHESTRATED.value: CHECKOUT, Order.Mode.CHOREOGRAPHED.value: CHOREOGRAPHED}
CANCELLATION = "shop.cancel_order"
RETURN = "shop.return"
READDRESSING = "shop.change_address"


def categories() -> QuerySet[Category]:
    """The shelves in the shop's order."""
    return Category.objects.all()


def products_for_sale() -> QuerySet[Product]:
    """Everything that can be bought, with its category, in the order of names."""
    return Product.objects.filter(is_active=True).select_related("category")


def search_products(text: str) -> QuerySet[Product]:
    """Products for sale that have every word of ``text``, or a word that starts with it; best first."""
    words = re.findall(r"\w+", text)[:8]
    if not words:
        return products_for_sale()
    query = SearchQuery(" & ".join(f"{word}:*" for word in words), search_type="raw", config="english")
    return (
        products_for_sale()
        .alias(text=PRODUCT_TEXT)
        .filter(text=query)
        .order_by(SearchRank(PRODUCT_TEXT, query).desc(), "name", "id")
    )


def with_stock(products: Iterable[Product]) -> list[tuple[Product, int]]:
    """Each product with the number that can be bought, in one query for all of them."""
    listed = list(products)
    available = inventory.available(product.sku for product in listed)
    return [(product, available.get(product.sku, 0)) for product in listed]


def orders_of(user: User) -> QuerySet[Order]:
    """The orders of an account, newest first."""
    return Order.objects.filter(user=user).order_by("-created_at", "-id")


def order_for(number: str, user: User | AnonymousUser, opened: Iterable[str]) -> Order | None:
    """The order ``number`` if this visitor may see it: its owner, or a session that placed or opened it.

    ``opened`` are the numbers the session may see. "Not yours" and "not there" are the same answer.
    """
    order = Order.objects.prefetch_related("lines").filter(number=number).first()
    if order is None:
        return None
    owns = user.is_authenticated and order.user_id == user.pk
    return order if owns or order.number in opened else None


def order_and_parcel(reference: str) -> tuple[str, int]:
    """Whose parcel it is, and the how manieth: what `shipment_reference` made of the two."""
    prefix, code, *count = reference.split("-")
    return f"{prefix}-{code}", int(count[0]) if count else 1


def order_with_lines(number: str) -> Order:
    """The order of that number with its lines, in two queries; raises `Order.DoesNotExist`."""
    return Order.objects.prefetch_related("lines").get(number=number)


def sagas_of_order(number: str) -> QuerySet[Any]:
    """All the sagas of an order with their steps, newest first. Their keys are its number, or that and a count."""
    return sagas.with_steps().filter(business_key__startswith=number).order_by("-id")


def checkout_and_wish(number: str) -> tuple[Any, Any]:
    """An order's checkout, and what was asked for it last: the saga of a cancellation, a return, or a new address.

    With their steps, in two queries; None where there is none.
    """
    definitions = (*CHECKOUTS.values(), CANCELLATION, RETURN, READDRESSING)
    found = list(sagas_of_order(number).filter(definition__in=definitions))
    checkout = next((saga for saga in found if saga.definition in CHECKOUTS.values()), None)
    return checkout, next((saga for saga in found if saga is not checkout), None)


def latest_saga(definition: str, number: str) -> Any:
    """The last saga of one definition for an order, with its steps, or None.

    One that came to nothing may be followed by another: the order's number and a count are its key.
    """
    return sagas_of_order(number).filter(definition=definition).first()
