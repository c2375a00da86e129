"""What the pages ask of a request."""

from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails

from shop.models import Order
from shop.selectors import order_for

_OPENED = "orders"
_MOST_OPENED = 50


class ShopRequest(HttpRequest):
    """A request as the middleware hands it to a page."""

    htmx: HtmxDetails


def account_of(request: HttpRequest) -> User | None:
    """Who is logged in, or None for a guest."""
    return request.user if isinstance(request.user, User) else None


def opened_orders(request: HttpRequest) -> list[str]:
    """The orders this session placed, or opened with their access token."""
    numbers: list[str] = request.session.get(_OPENED, [])
    return numbers


def remember_order(request: HttpRequest, number: str) -> None:
    """Let this session see the order ``number`` from now on."""
    others = [other for other in opened_orders(request) if other != number]
    request.session[_OPENED] = [*others, number][-_MOST_OPENED:]


def order_or_404(request: HttpRequest, number: str) -> Order:
    """The order, for its owner and for a session that placed or opened it."""
    order = order_for(number, request.user, opened_orders(request))
    if order is None:
        raise Http404
    return order


def vary_on_htmx(response: HttpResponse) -> HttpResponse:
    """The same address answers a page or a part of it: a cache has to keep them apart."""
    patch_vary_headers(response, ["HX-Request"])
    return response
