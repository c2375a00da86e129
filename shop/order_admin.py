"""Orders in the admin: what was bought, who holds the order, and what its sagas made of it.

Only services and sagas move an order. What a person may put right by hand is the e-mail address, and
only while no saga holds the order: the page goes through the same guard as every other writer.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from money import Money
from payments import selectors as payments
from sagas import locks
from sagas import selectors as sagas
from sagas.admin.flow_page import flow_url
from sagas.admin.links import register_resource_page
from sagas.admin.paging import BoundedPaginator, beginning_with
from sagas.admin.touched import MAX_ROWS, BusinessRow, register_rows
from sagas.admin.words import badge
from sagas.exceptions import LockTaken
from shipping import selectors as shipping
from shop.models import Order, OrderLine
from shop.return_admin import ReturnForms
from shop.selectors import sagas_of_order

ORDER = "shop.order"

if TYPE_CHECKING:
    LineInline = admin.TabularInline[OrderLine, Order]
else:
    LineInline = admin.TabularInline


class OrderLineInline(LineInline):
    """What was bought, at the price it was bought for."""

    model = OrderLine
    fields = readonly_fields = ("sku", "name", "quantity", "price", "sum")
    extra = 0
    can_delete = False

    @admin.display(description="unit price")
    def price(self, line: OrderLine) -> Money:
        return line.unit_price

    @admin.display(description="total")
    def sum(self, line: OrderLine) -> Money:
        return line.total

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class OrderList(ChangeList):
    """A page of the list, with who holds its orders in one go."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        holders = sagas.lock_holders(ORDER, [order.number for order in self.result_list])
        for order in self.result_list:
            order.holder = holders.get(order.number)


@admin.register(Order)
class OrderAdmin(ReturnForms):
    list_display = ["number", "state", "held_by", "email", "price", "placed"]
    list_filter = ["status"]
    list_max_show_all = 0
    list_per_page = 50
    actions = None
    ordering = ["-created_at", "-id"]
    paginator = BoundedPaginator
    search_fields = ["number"]
    search_help_text = "An order number or its beginning."
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()
    inlines = [OrderLineInline]
    change_form_template = "admin/shop/order/change_form.html"
    fieldsets = [
        (None, {"fields": [("number", "state"), ("price", "mode"), ("created_at", "confirmed_at"), "cancelled"]}),
        ("Shopper", {"fields": ["email", "user", "address"]}),
    ]
    readonly_fields = [
        "number", "state", "price", "mode", "created_at", "confirmed_at", "cancelled", "user", "address",
    ]  # fmt: skip

    class Media:
        css = {"all": ["sagas/admin.css"]}

    # --- the list ---------------------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return OrderList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """By the beginning of the number, as its index can."""
        term = search_term.strip()
        if not term:
            return queryset, False
        return beginning_with(queryset, "number", term), False

    @admin.display(description="status")
    def state(self, order: Order) -> str:
        return order.get_status_display()

    @admin.display(description="total")
    def price(self, order: Order) -> Money:
        return order.total

    @admin.display(description="placed (UTC)")
    def placed(self, order: Order) -> str:
        return order.created_at.strftime("%Y-%m-%d %H:%M:%S")

    @admin.display(description="in the hands of")
    def held_by(self, order: Order) -> SafeString | str:
        holder = holder_of(order)
        return _holder_link(holder) if holder else ""

    # --- the page ---------------------------------------------------------------------------------

    @admin.display(description="ship to")
    def address(self, order: Order) -> str:
        town = f"{order.ship_postal_code} {order.ship_city}, {order.ship_country}"
        return ", ".join(filter(None, [order.ship_name, order.ship_line1, order.ship_line2, town]))

    @admin.display(description="cancelled")
    def cancelled(self, order: Order) -> str:
        if order.cancelled_at is None:
            return "no"
        return f"{order.cancelled_at:%Y-%m-%d %H:%M:%S} UTC: {order.cancel_reason}"

    def has_change_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        """Nobody edits an order that a saga holds."""
        return super().has_change_permission(request, obj) and (obj is None or holder_of(obj) is None)

    def save_model(self, request: HttpRequest, obj: Order, form: Any, change: bool) -> None:
        with locks.guard(ORDER, obj.number):
            Order.objects.filter(pk=obj.pk).update(email=obj.email)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            if request.method == "POST" and super().has_change_permission(request):
                self._check_free(request, object_id)
            return super().change_view(request, object_id, form_url, extra_context)
        except LockTaken as taken:
            # All of the change is rolled back, also when a saga took the order in its midst.
            words = f"Nothing was changed: {taken.definition} has held the order since {taken.since:%H:%M:%S} UTC."
            self.message_user(request, words, messages.ERROR)
            return HttpResponseRedirect(request.path)

    def _check_free(self, request: HttpRequest, object_id: str) -> None:
        """Raise `LockTaken` for a held order: who holds it says more than that it cannot be changed."""
        order = self.get_object(request, object_id)
        if order is not None:
            with transaction.atomic(), locks.guard(ORDER, order.number):
                pass

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        order = context.get("original")
        if order is not None:
            context |= _around(order)
        return super().render_change_form(request, context, *args, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Orders are placed in the shop, with their saga."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Order | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        by_number = self.admin_site.admin_view(self.by_number_view)
        return [path("number/<str:number>/", by_number, name="shop_order_by_number"), *super().get_urls()]

    def by_number_view(self, request: HttpRequest, number: str) -> HttpResponse:
        """From an order's number, which is what sagas know it by, to its page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        order = get_object_or_404(Order.objects.only("pk"), number=number)
        return redirect("admin:shop_order_change", order.pk)


def holder_of(order: Order) -> sagas.LockHolder | None:
    """Who holds an order; asked once for each loaded order."""
    if not hasattr(order, "holder"):
        order.holder = sagas.lock_holder(ORDER, order.number)  # type: ignore[attr-defined]
    return order.holder  # type: ignore[attr-defined, no-any-return]


def order_page(number: str) -> str:
    """The address of an order's page in the admin."""
    return reverse("admin:shop_order_by_number", args=[number])


def order_rows(references: list[str]) -> list[BusinessRow]:
    """The orders among what a saga names, for its page."""
    found = Order.objects.filter(number__in=references)[:MAX_ROWS]
    return [
        BusinessRow(
            order.number,
            reverse("admin:shop_order_change", args=[order.pk]),
            order.get_status_display(),
            ", ".join(filter(None, [str(order.total), order.cancel_reason])),
        )
        for order in found
    ]


register_resource_page(ORDER, order_page)
register_rows(Order, order_rows)


def _around(order: Order) -> dict[str, Any]:
    """What stands beside the order's own fields: its lock, its sagas, its money, its parcel."""
    payment = payments.payment_of(order.number)
    return {
        "holder": holder_of(order),
        "flow_url": flow_url(order.number) if order.mode == Order.Mode.CHOREOGRAPHED else "",
        "sagas": [(saga, badge(saga.status), sagas.waiting_words(saga)) for saga in sagas_of_order(order.number)],
        "payment": payment,
        "amounts": [
            (words, Money(amount, payment.currency))
            for words, amount in (
                ("Amount", payment.amount),
                ("Captured", payment.captured),
                ("Refunded", payment.refunded),
            )
            if amount
        ]
        if payment
        else [],
        "shipment": shipping.shipment_of(order.shipment_reference),
    }


def _holder_link(holder: sagas.LockHolder) -> SafeString:
    url = reverse("admin:sagas_sagainstance_change", args=[holder.saga_id])
    return format_html('<a href="{}">{}</a> {}', url, holder.definition, f"at {holder.step}" if holder.step else "")
