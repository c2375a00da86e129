"""The pages on which a shopper asks to cancel or to return an order: a look, a question, a button."""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from shop.after_sales import Asked, ask_to_cancel, ask_to_return
from shop.exceptions import WishRefused
from shop.forms import WishForm
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


def _ask(request: HttpRequest, number: str, template: str, ask: Callable[[str, str], Asked]) -> HttpResponse:
    """A second submit, from a double click or another tab, leads to the first one's saga: the order's page."""
    order = order_or_404(request, number)
    form = WishForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            ask(order.number, form.cleaned_data["reason"])
        except WishRefused as refusal:
            messages.error(request, str(refusal))
        return redirect(order)
    return render(request, template, {"order": order, "form": form}, status=422 if form.errors else 200)
