"""Stock in the admin: to be read. Its figures change only by a new line of the ledger."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from inventory import services
from inventory.models import Reservation, ReservationLine, StockItem, StockMovement
from ledger_admin import LedgerAdmin, LedgerInline
from sagas.admin.touched import MAX_ROWS, BusinessRow, register_rows

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[StockMovement]
else:
    ModelForm = forms.ModelForm


@admin.register(StockItem)
class StockItemAdmin(LedgerAdmin):
    ordering = ("sku",)
    list_display = ["sku", "on_hand", "reserved", "available", "updated_at"]
    search_fields = ["sku"]


class ReservationLineInline(LedgerInline):
    model = ReservationLine


@admin.register(Reservation)
class ReservationAdmin(LedgerAdmin):
    list_display = ["reference", "status", "created_at", "settled_at"]
    list_filter = ["status"]
    search_fields = ["reference__exact"]
    inlines = [ReservationLineInline]


class MovementForm(ModelForm):
    """A delivery or a write-off; the ledger's other lines are written by sales and returns."""

    kind = forms.ChoiceField(choices=[("RECEIVED", "received"), ("WRITTEN_OFF", "written off")])
    sku = forms.CharField(max_length=64)
    quantity = forms.IntegerField(min_value=1, max_value=1_000_000)
    note = forms.CharField(max_length=200)

    class Meta:
        model = StockMovement
        fields = ["kind", "note"]

    def clean(self) -> dict[str, Any]:
        entry = super().clean() or self.cleaned_data
        # Held until the line is written: the admin saves in the same transaction.
        item = StockItem.objects.select_for_update(no_key=True).filter(sku=entry.get("sku")).first()
        if item is None:
            self.add_error("sku", "There is no stock item with this sku.")
        elif entry.get("kind") == "WRITTEN_OFF" and entry.get("quantity", 0) > item.available:
            self.add_error("quantity", f"Only {item.available} units are on hand and not promised.")
        return entry

    def _post_clean(self) -> None:
        """The line is written by `services`, not from the form's instance: nothing to build or validate here."""


@admin.register(StockMovement)
class StockMovementAdmin(LedgerAdmin):
    list_display = ["created_at", "kind", "item_id", "delta", "reference", "return_reference", "note"]
    list_filter = ["kind"]
    search_fields = ["reference__exact", "return_reference__exact", "item_id__exact"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("inventory.add_stockmovement")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs) if obj else MovementForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return super().get_fields(request, obj) if obj else ["kind", "sku", "quantity", "note"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        entry = form.cleaned_data
        record = services.receive if entry["kind"] == "RECEIVED" else services.write_off
        obj.pk = record(entry["sku"], entry["quantity"], entry["note"])
        obj.refresh_from_db()


def reservation_rows(references: list[str]) -> list[BusinessRow]:
    """The reservations among what a saga names, for its page."""
    found = Reservation.objects.filter(reference__in=references).prefetch_related("lines")[:MAX_ROWS]
    return [
        BusinessRow(
            reservation.reference,
            reverse("admin:inventory_reservation_change", args=[reservation.pk]),
            reservation.get_status_display(),
            ", ".join(str(line) for line in reservation.lines.all()),
        )
        for reservation in found
    ]


register_rows(Reservation, reservation_rows)
