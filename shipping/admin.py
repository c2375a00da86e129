"""Shipments in the admin: to be read."""

from django.contrib import admin
from django.db.models import Q
from django.urls import reverse

from ledger_admin import LedgerAdmin
from sagas.admin.touched import MAX_ROWS, BusinessRow, register_rows
from shipping.models import Shipment, TrackingEvent


@admin.register(Shipment)
class ShipmentAdmin(LedgerAdmin):
    list_display = ["reference", "status", "tracking_status", "tracking_code", "carrier", "updated_at"]
    list_filter = ["status", "tracking_status"]
    search_fields = ["reference__exact", "tracking_code__exact"]


@admin.register(TrackingEvent)
class TrackingEventAdmin(LedgerAdmin):
    list_display = ["event_id", "tracking_code", "tracking_status", "status", "note", "received_at"]
    list_filter = ["status"]
    search_fields = ["event_id__exact", "tracking_code__exact"]


def shipment_rows(references: list[str]) -> list[BusinessRow]:
    """The shipments among what a saga names, for its page; those of later parcels add a count to their reference."""
    named = Q(reference__in=references)
    for reference in references:
        named |= Q(reference__startswith=f"{reference}-")
    return [
        BusinessRow(
            shipment.reference,
            reverse("admin:shipping_shipment_change", args=[shipment.pk]),
            shipment.get_status_display(),
            ", ".join(
                filter(None, [shipment.get_tracking_status_display(), shipment.tracking_code, shipment.refusal_message])
            ),
        )
        for shipment in Shipment.objects.filter(named)[:MAX_ROWS]
    ]


register_rows(Shipment, shipment_rows)
