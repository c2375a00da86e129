"""Payments in the admin: to be read. Money moves only through sagas."""

from django.contrib import admin

from ledger_admin import LedgerAdmin, LedgerInline
from payments.models import GatewayEvent, Payment, Refund


class RefundInline(LedgerInline):
    model = Refund


@admin.register(Payment)
class PaymentAdmin(LedgerAdmin):
    list_display = ["reference", "status", "amount", "captured_amount", "refunded_amount", "currency", "updated_at"]
    list_filter = ["status", "currency"]
    search_fields = ["=reference", "=intent_id"]
    inlines = [RefundInline]


@admin.register(Refund)
class RefundAdmin(LedgerAdmin):
    list_display = ["refund_reference", "payment", "status", "amount", "updated_at"]
    list_filter = ["status"]
    search_fields = ["=refund_reference", "=payment__reference"]
    list_select_related = ["payment"]


@admin.register(GatewayEvent)
class GatewayEventAdmin(LedgerAdmin):
    list_display = ["event_id", "kind", "reference", "status", "note", "received_at"]
    list_filter = ["status", "kind"]
    search_fields = ["=event_id", "=reference"]
