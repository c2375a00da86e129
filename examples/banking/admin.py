"""The bank's books, to be read. Money moves by a transfer only."""

from django.contrib import admin
from django.urls import reverse

from examples.banking.models import Account, LedgerEntry, Transfer
from examples.banking.services import CURRENCY
from ledger_admin import LedgerAdmin, LedgerInline
from money import Money
from sagas.admin.touched import MAX_ROWS, BusinessRow, register_rows


@admin.register(Account)
class AccountAdmin(LedgerAdmin):
    list_display = ["number", "owner", "kind", "balance_amount", "daily_limit_amount", "is_frozen"]
    search_fields = ["number__exact"]


class EntryInline(LedgerInline):
    model = LedgerEntry
    fields = ["posting", "account", "amount", "created_at"]
    readonly_fields = ["created_at"]
    ordering = ["id"]


@admin.register(Transfer)
class TransferAdmin(LedgerAdmin):
    list_display = ["number", "source", "target", "amount", "status", "reason", "requested_at"]
    list_select_related = ["source", "target"]
    search_fields = ["number__exact"]
    inlines = [EntryInline]


@admin.register(LedgerEntry)
class LedgerEntryAdmin(LedgerAdmin):
    list_display = ["transfer", "posting", "account", "amount", "created_at"]
    list_select_related = ["transfer", "account"]
    search_fields = ["transfer__number__exact", "account__number__exact"]


def account_rows(references: list[str]) -> list[BusinessRow]:
    """The accounts among what a saga names, for its page."""
    return [
        BusinessRow(
            account.number,
            reverse("admin:banking_account_change", args=[account.pk]),
            "frozen" if account.is_frozen else "open",
            str(Money(account.balance_amount or 0, CURRENCY)),
        )
        for account in Account.objects.filter(number__in=references)[:MAX_ROWS]
    ]


def transfer_rows(references: list[str]) -> list[BusinessRow]:
    """The transfers among what a saga names, for its page."""
    return [
        BusinessRow(
            transfer.number,
            reverse("admin:banking_transfer_change", args=[transfer.pk]),
            transfer.get_status_display(),
            ", ".join(filter(None, [str(Money(transfer.amount, CURRENCY)), transfer.reason])),
        )
        for transfer in Transfer.objects.filter(number__in=references)[:MAX_ROWS]
    ]


register_rows(Account, account_rows)
register_rows(Transfer, transfer_rows)
