"""The one page on which a cart becomes an order."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from shop.carts import fingerprint, lines_of, order_cart, session_cart, was_ordered
from shop.exceptions import CartAlreadyOrdered, CartChanged, OrderRefused
from shop.forms import CheckoutForm, address_of
from shop.models import Cart, Order
from shop.selectors import orders_of
from shop.views.cart import total_of
from shop.views.requests import account_of, remember_order


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def checkout(request: HttpRequest) -> HttpResponse:
    """Ask for the address and the card, place the order, lead to its page.

    A second submit of the same cart, from a double click or another tab, leads to the first order.
    """
    cart = session_cart(request)
    if request.method == "POST" and cart is not None:
        return _place(request, cart)
    if cart is None or was_ordered(cart) or not lines_of(cart):
        messages.info(request, "Your cart is empty: there is nothing to order yet.")
        return redirect("shop:cart")
    return _page(request, cart, CheckoutForm(initial=_known(request)))


def _place(request: HttpRequest, cart: Cart) -> HttpResponse:
    if was_ordered(cart):
        return _show_first(request, cart.order.number)
    form = CheckoutForm(request.POST)
    if not form.is_valid():
        return _page(request, cart, form)
    try:
        order, _ = order_cart(
            cart,
            seen=form.cleaned_data["seen"],
            email=form.cleaned_data["email"],
            address=form.address,
            payment_method=form.cleaned_data["payment_method"],
            user=account_of(request),
        )
    except CartAlreadyOrdered as first:
        return _show_first(request, first.number)
    except (CartChanged, OrderRefused) as refusal:
        form.add_error(None, str(refusal))
        return _page(request, cart, form)
    remember_order(request, order.number)
    return redirect(order)


def _page(request: HttpRequest, cart: Cart, form: CheckoutForm) -> HttpResponse:
    lines = lines_of(cart)
    if not lines:
        messages.info(request, "Your cart is empty: there is nothing to order yet.")
        return redirect("shop:cart")
    context = {"form": form, "lines": lines, "total": total_of(lines), "seen": fingerprint(cart, lines)}
    return render(request, "shop/checkout.html", context, status=422 if form.errors else 200)


def _show_first(request: HttpRequest, number: str) -> HttpResponse:
    remember_order(request, number)
    messages.info(request, "You have ordered this already: here is your order.")
    return redirect("shop:order", number)


def _known(request: HttpRequest) -> dict[str, str]:
    """What we know of a shopper with an account: their address, as they last gave it."""
    user = account_of(request)
    if user is None:
        return {}
    last: Order | None = orders_of(user).first()
    return {"email": user.email, **address_of(last)}
