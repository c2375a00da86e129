"""An order's page, which follows its saga, and the list of an account's orders.

An order is shown to its owner, and to a session that placed it or came with its access token. To everybody
else it is not there.
"""

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_htmx.http import HTMX_STOP_POLLING

from shop.models import Order
from shop.progress import progress_of
from shop.selectors import orders_of
from shop.services import opens_order
from shop.views.requests import account_of, order_or_404, remember_order

PAGE_SIZE = 20


@login_required
@never_cache
@require_safe
def history(request: HttpRequest) -> HttpResponse:
    """The account's orders, newest first."""
    user = account_of(request)
    assert user is not None
    page = Paginator(orders_of(user), PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "shop/orders.html", {"page": page})


@never_cache
@require_safe
def show(request: HttpRequest, number: str) -> HttpResponse:
    """The order, and how far it is."""
    order = order_or_404(request, number)
    return render(request, "shop/order.html", {"order": order, "progress": progress_of(order)})


@never_cache
@require_safe
def status(request: HttpRequest, number: str) -> HttpResponse:
    """How far the order is, as a part of its page.

    204 leaves the page as it is, when nothing is new since ``seen``: a screen reader is told only news.
    286 ends the polling.
    """
    order = order_or_404(request, number)
    progress = progress_of(order)
    if progress.live and progress.digest == request.GET.get("seen"):
        return HttpResponse(status=204)
    answer = 200 if progress.live else HTMX_STOP_POLLING
    context = {"order": order, "progress": progress, "announce": True}
    return render(request, "shop/parts/order_status.html", context, status=answer)


@never_cache
@require_safe
def open_with_token(request: HttpRequest, number: str, token: str) -> HttpResponse:
    """The link in the confirmation e-mail: this session may see the order, and the token leaves the address bar."""
    order = Order.objects.filter(number=number).first()
    if order is None or not opens_order(order, token):
        raise Http404
    remember_order(request, number)
    return redirect(order)
