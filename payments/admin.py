"""Payments in the admin: to be read. Money moves only through sagas."""

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from ledger_admin import LedgerAdmin, LedgerInline
from money import Money
from payments.models import GatewayEvent, Payment, Refund
from sagas.admin.touched import MAX_ROWS, BusinessRow, register_rows


class RefundInline(LedgerInline):
    model = Refund


@admin.register(Payment)
class PaymentAdmin(LedgerAdmin):
    list_display = ["reference", "status", "amount", "captured_amount", "refunded_amount", "currency", "updated_at"]
    list_filter = ["status"]
    search_fields = ["reference__exact", "intent_id__exact"]
    inlines = [RefundInline]


@admin.register(Refund)
class RefundAdmin(LedgerAdmin):
    list_display = ["refund_reference", "payment", "status", "amount", "updated_at"]
    list_filter = ["status"]
    search_fields = ["refund_reference__exact"]
    search_help_text = "A refund's reference, or that of its payment."
    list_select_related = ["payment"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Refund], search_term: str
    ) -> tuple[QuerySet[Refund], bool]:
        """The payment is looked up first: one index for each half, where a join would read all refunds."""
        term = search_term.strip()
        if not term:
            return queryset, False
        payment = Payment.objects.filter(reference=term).values_list("pk", flat=True).first()
        return queryset.filter(Q(refund_reference=term) | Q(payment=payment)), False


@admin.register(GatewayEvent)
class GatewayEventAdmin(LedgerAdmin):
    list_display = ["event_id", "kind", "reference", "status", "note", "received_at"]
    list_filter = ["status"]
    search_fields = ["event_id__exact", "reference__exact"]


def payment_rows(references: list[str]) -> list[BusinessRow]:
    """The payments among what a saga names, for its page."""
    return [
        BusinessRow(
            payment.reference,
            reverse("admin:payments_payment_change", args=[payment.pk]),
            payment.get_status_display(),
            _amounts(payment),
        )
        for payment in Payment.objects.filter(reference__in=references)[:MAX_ROWS]
    ]


def _amounts(payment: Payment) -> str:
    """What was asked for, and how much of it was held, taken and given back."""
    amounts = {
        "of": payment.amount,
        "authorized": payment.authorized_amount,
        "captured": payment.captured_amount,
        "refunded": payment.refunded_amount,
    }
    told = [f"{word} {Money(amount, payment.currency)}" for word, amount in amounts.items() if amount]
    return ", ".join(filter(None, [*told, payment.decline_message]))


register_rows(Payment, payment_rows)
