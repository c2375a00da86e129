"""Stock in the admin: to be read. Its figures change only by a new line of the ledger."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from inventory import services
from inventory.exceptions import OutOfStock
from inventory.models import Reservation, ReservationLine, StockItem, StockMovement


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """A page to look at: nothing is added, changed or deleted by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(StockItem)
class StockItemAdmin(ReadOnlyAdmin):
    list_display = ["sku", "on_hand", "reserved", "available", "updated_at"]
    search_fields = ["sku"]


class ReservationLineInline(admin.TabularInline[ReservationLine, Reservation]):
    model = ReservationLine
    can_delete = False
    extra = 0


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    list_display = ["reference", "status", "created_at", "settled_at"]
    list_filter = ["status"]
    search_fields = ["=reference"]
    inlines = [ReservationLineInline]


class MovementForm(forms.ModelForm[StockMovement]):
    """A delivery or a write-off; the ledger's other lines are written by sales and returns."""

    kind = forms.ChoiceField(choices=[("RECEIVED", "received"), ("WRITTEN_OFF", "written off")])
    sku = forms.CharField(max_length=64)
    quantity = forms.IntegerField(min_value=1, max_value=1_000_000)
    note = forms.CharField(max_length=200)

    class Meta:
        model = StockMovement
        fields = ["kind", "note"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        sku = cleaned.get("sku")
        item = StockItem.objects.filter(sku=sku).first()
        if sku and item is None:
            self.add_error("sku", "There is no stock item with this sku.")
        elif item and cleaned.get("kind") == "WRITTEN_OFF" and cleaned.get("quantity", 0) > item.available:
            self.add_error("quantity", f"Only {item.available} units are neither promised nor gone.")
        return cleaned

    def _post_clean(self) -> None:
        """The row is written by `services`, which checks more than the model's own fields."""


@admin.register(StockMovement)
class StockMovementAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "kind", "item", "delta", "reference", "return_reference", "note"]
    list_filter = ["kind"]
    search_fields = ["=reference", "=return_reference", "=item__sku"]
    list_select_related = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm[Any]]:
        return super().get_form(request, obj, change, **kwargs) if obj else MovementForm

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return super().get_fields(request, obj) if obj else ["kind", "sku", "quantity", "note"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[StockMovement]:
        return super().get_queryset(request)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        entry = form.cleaned_data
        if entry["kind"] == "RECEIVED":
            movement = services.receive(entry["sku"], entry["quantity"], entry["note"])
        else:
            movement = services.write_off(entry["sku"], entry["quantity"], entry["note"])
        obj.pk = movement
