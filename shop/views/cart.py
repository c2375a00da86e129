"""The cart's page and its two changes. Each change is a POST that leads back to a page."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from money import Money
from shop.carts import lines_of, open_cart, put_in_cart, set_quantity
from shop.exceptions import ShopError
from shop.forms import LineForm, QuantityForm
from shop.models import MAX_QUANTITY, Cart, CartLine, Product
from shop.selectors import products_for_sale, with_stock
from shop.views.requests import ShopRequest, vary_on_htmx


@never_cache
@require_safe
def show(request: ShopRequest) -> HttpResponse:
    """What is in the cart."""
    return _cart_page(request)


@require_POST
def add(request: ShopRequest, slug: str) -> HttpResponse:
    """Put a product into the cart; without JavaScript the cart's page follows."""
    product = get_object_or_404(products_for_sale(), slug=slug)
    form = QuantityForm(request.POST)
    error = ""
    if form.is_valid():
        try:
            put_in_cart(request, product, form.cleaned_data["quantity"])
        except ShopError as refusal:
            error = str(refusal)
    else:
        error = _quantity_error()
    if request.htmx:
        return vary_on_htmx(render(request, "shop/parts/added.html", {"product": product, "error": error}))
    if error:
        messages.error(request, error)
        return redirect(product)
    messages.success(request, f"“{product.name}” is in your cart.")
    return redirect("shop:cart")


@require_POST
def change(request: ShopRequest, slug: str) -> HttpResponse:
    """Have more, less or none of a product."""
    product = get_object_or_404(Product, slug=slug)
    form = LineForm({"quantity": 0} if "remove" in request.POST else request.POST)
    cart = open_cart(request)
    if not form.is_valid():
        messages.error(request, _quantity_error())
    elif cart is not None:
        _change(request, cart, product, form.cleaned_data["quantity"])
    return _cart_page(request) if request.htmx else redirect("shop:cart")


def total_of(lines: list[CartLine]) -> Money | None:
    """What the lines cost together; None for an empty cart or one of several currencies."""
    if len({line.product.currency for line in lines}) != 1:
        return None
    return Money(sum(line.total.amount for line in lines), lines[0].product.currency)


def _change(request: HttpRequest, cart: Cart, product: Product, quantity: int) -> None:
    try:
        set_quantity(cart, product, quantity)
    except ShopError as refusal:
        messages.error(request, str(refusal))
    else:
        have = f"Your cart has {quantity} × “{product.name}” now."
        text = have if quantity else f"“{product.name}” was taken out of your cart."
        messages.success(request, text)


def _cart_page(request: ShopRequest) -> HttpResponse:
    lines = lines_of(open_cart(request))
    stock = {product.pk: available for product, available in with_stock(line.product for line in lines)}
    context = {
        "lines": [(line, stock[line.product_id]) for line in lines],
        "total": total_of(lines),
        "most": MAX_QUANTITY,
        "can_order": bool(lines) and all(line.quantity <= stock[line.product_id] for line in lines),
    }
    template = "shop/parts/cart.html" if request.htmx else "shop/cart.html"
    return vary_on_htmx(render(request, template, context))


def _quantity_error() -> str:
    return f"The quantity has to be a number from 1 to {MAX_QUANTITY}."
