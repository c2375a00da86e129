"""The pages on which a shopper asks to cancel, to return or to readdress an order: a look, a question, a button."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from shop.after_sales import Asked, ask_to_cancel, ask_to_readdress, ask_to_return
from shop.exceptions import WishRefused
from shop.forms import AddressForm, WishForm, address_of
from shop.models import Order
from shop.views.requests import order_or_404


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: HttpRequest, number: str) -> HttpResponse:
    """Ask whether the order is really to be cancelled, then have it cancelled."""
    return _ask(request, number, "shop/cancel.html", ask_to_cancel)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def give_back(request: HttpRequest, number: str) -> HttpResponse:
    """Say how a return goes, ask why, then wait for the parcel."""
    return _ask(request, number, "shop/return.html", ask_to_return)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def readdress(request: HttpRequest, number: str) -> HttpResponse:
    """Ask where the order is to go instead."""
    order = order_or_404(request, number)
    form = AddressForm(request.POST) if request.method == "POST" else AddressForm(initial=address_of(order))
    if request.method == "POST" and form.is_valid():
        return _asked(request, order, lambda: ask_to_readdress(order.number, form.address))
    context = {"order": order, "form": form}
    return render(request, "shop/address.html", context, status=422 if form.errors else 200)


def _ask(request: HttpRequest, number: str, template: str, ask: Callable[[str, str], Asked]) -> HttpResponse:
    """A second submit, from a double click or another tab, leads to the first one's saga: the order's page."""
    order = order_or_404(request, number)
    form = WishForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        return _asked(request, order, lambda: ask(order.number, form.cleaned_data["reason"]))
    return render(request, template, {"order": order, "form": form}, status=422 if form.errors else 200)


def _asked(request: HttpRequest, order: Order, ask: Callable[[], Asked]) -> HttpResponse:
    """What came of it is told by the order's page; so is a refusal."""
    try:
        ask()
    except WishRefused as refusal:
        messages.error(request, str(refusal))
    return redirect(order)
