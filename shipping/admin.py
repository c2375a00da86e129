"""Shipments in the admin: to be read."""

from django.contrib import admin

from ledger_admin import LedgerAdmin
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
