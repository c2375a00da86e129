"""What the shop's templates need: prices, and the two things that stand on every page."""

from django import template
from django.db.models import QuerySet
from django.http import HttpRequest
from django.templatetags.static import static

from money import Money
from shop import selectors
from shop.carts import count_items
from shop.models import Category, Product

register = template.Library()

_NO_PICTURE = "shop/no-picture.svg"
_SYMBOLS = {"EUR": "€", "GBP": "£", "USD": "$"}


@register.filter
def money(price: Money) -> str:
    """``€1,299.00``, or ``1,299.00 CHF`` for a currency without a sign of its own."""
    symbol = _SYMBOLS.get(price.currency)
    return f"{symbol}{price.decimal:,}" if symbol else f"{price.decimal:,} {price.currency}"


@register.filter
def picture(product: Product) -> str:
    """The address of the product's picture. A path that leads nowhere must not break a page of products."""
    try:
        return static(product.image or _NO_PICTURE)
    except ValueError:  # the manifest of the static files does not know it
        return static(_NO_PICTURE)


@register.simple_tag(takes_context=True)
def cart_count(context: template.Context) -> int:
    """How many things are in the visitor's cart; one query, and none for a visitor without a cart."""
    request: HttpRequest = context["request"]
    return count_items(request)


@register.simple_tag
def shop_categories() -> QuerySet[Category]:
    """The shelves, for the navigation."""
    return selectors.categories()
