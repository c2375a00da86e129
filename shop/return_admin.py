"""A return in the admin: on the order's page, two small forms tell that the parcel is here and what was in it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST

from sagas import selectors as sagas
from shop.after_sales import inspect_return, receive_return
from shop.exceptions import ShopError
from shop.models import MAX_REASON, Order
from shop.selectors import RETURN, latest_saga

if TYPE_CHECKING:
    OrderModelAdmin = admin.ModelAdmin[Order]
else:
    OrderModelAdmin = admin.ModelAdmin


class InspectionForm(forms.Form):
    """What was found in the parcel of an order, with a count of what is broken for each of its lines."""

    verdict = forms.ChoiceField(
        choices=[("accepted", "Accept: the money goes back"), ("refused", "Do not accept")], widget=forms.RadioSelect
    )
    reason = forms.CharField(
        max_length=MAX_REASON, required=False, help_text="Told to the customer; needed when you do not accept."
    )

    def __init__(self, order: Order, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lines = list(order.lines.all())
        for line in self.lines:
            self.fields[f"broken {line.sku}"] = forms.IntegerField(
                label=f"{line.name}: broken, of {line.quantity}", min_value=0, max_value=line.quantity, initial=0
            )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("verdict") == "refused" and not cleaned.get("reason"):
            self.add_error("reason", "Say why, in words for the customer.")
        return cleaned

    @property
    def broken(self) -> dict[str, int]:
        counts = {line.sku: self.cleaned_data[f"broken {line.sku}"] for line in self.lines}
        return {sku: count for sku, count in counts.items() if count}


class ReturnForms(OrderModelAdmin):
    """What the admin of orders gets for returns. Both forms need `shop.handle_returns`."""

    def get_urls(self) -> list[URLPattern]:
        views = {"received": self.return_received_view, "inspected": self.return_inspected_view}
        return [
            *(
                path(
                    f"<int:pk>/return/{name}/",
                    self.admin_site.admin_view(require_POST(view)),
                    name=f"shop_return_{name}",
                )
                for name, view in views.items()
            ),
            *super().get_urls(),
        ]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        order = context.get("original")
        if order is not None:
            context["returning"] = _returning(order, request.user.has_perm("shop.handle_returns"))
        return super().render_change_form(request, context, *args, **kwargs)

    def return_received_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The parcel is here. A second click changes nothing."""
        order = self._order_to_handle(request, pk)
        try:
            receive_return(order.number, by=request.user.get_username())
        except ShopError as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
        else:
            self.message_user(request, "The parcel is noted as received.", messages.SUCCESS)
        return redirect("admin:shop_order_change", order.pk)

    def return_inspected_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What was in it. The first verdict stands."""
        order = self._order_to_handle(request, pk)
        form = InspectionForm(order, request.POST)
        if not form.is_valid():
            for words in _errors(form):
                self.message_user(request, words, messages.ERROR)
            return redirect("admin:shop_order_change", order.pk)
        accepted, reason = form.cleaned_data["verdict"] == "accepted", form.cleaned_data["reason"]
        by = request.user.get_username()
        try:
            inspect_return(order.number, accepted=accepted, by=by, reason=reason, broken=form.broken)
        except ShopError as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
        else:
            self.message_user(request, "The verdict is noted, and the return goes on.", messages.SUCCESS)
        return redirect("admin:shop_order_change", order.pk)

    def _order_to_handle(self, request: HttpRequest, pk: int) -> Order:
        if not (self.has_view_permission(request) and request.user.has_perm("shop.handle_returns")):
            raise PermissionDenied
        return get_object_or_404(Order, pk=pk)


def _returning(order: Order, may_handle: bool) -> dict[str, Any] | None:
    """What the page shows of a return under way."""
    last = latest_saga(RETURN, order.number)
    if last is None or last.ended_at is not None:
        return None
    return {
        "words": sagas.waiting_words(last),
        "is_here": any(step.name == "parcel_back" and step.action == "SUCCEEDED" for step in last.steps.all()),
        "form": InspectionForm(order) if may_handle else None,
    }


def _errors(form: InspectionForm) -> Iterator[str]:
    for name, errors in form.errors.items():
        label = form.fields[name].label or name.capitalize()
        yield f"Nothing was noted. {label}: {' '.join(map(str, errors))}"
