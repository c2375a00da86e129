"""What a bank knows: accounts, transfers, and the ledger that explains every cent. All amounts are cents.

`services` is the only writer. What must never happen is refused by PostgreSQL itself, whoever writes.
"""

from django.db import models
from django.db.models import F, Q


class Account(models.Model):
    """A customer's account, or one of the bank's own two.

    The balance of an own account is the sum of its entries and stored nowhere: every transfer would update
    that one row, and all transfers of the bank would queue up for it.
    """

    class Kind(models.TextChoices):
        CUSTOMER = "customer"
        # Where deposits come from: below zero by what the customers have.
        VAULT = "vault"
        # Where money is between its debit and its credit: zero when nothing is under way.
        CLEARING = "clearing"

    number = models.CharField(max_length=40, unique=True)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.CUSTOMER)
    owner = models.CharField(max_length=100)
    email = models.CharField(max_length=254, blank=True, help_text="Where notices go; empty if none are wanted.")
    balance_amount = models.BigIntegerField("balance", null=True, help_text="In cents.")
    daily_limit_amount = models.PositiveBigIntegerField("daily limit", null=True, help_text="In cents; empty if none.")
    is_frozen = models.BooleanField("frozen", default=False, help_text="Nothing goes in or out.")

    class Meta:
        ordering = ["number"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="customer", balance_amount__gte=0)
                | Q(kind__in=["vault", "clearing"], balance_amount=None),
                name="banking_balance_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return self.number


class Transfer(models.Model):
    """An amount on its way from one account to another. A deposit is one from the vault, without a saga."""

    class Status(models.TextChoices):
        REQUESTED = "requested"
        RECORDED = "recorded"
        REJECTED = "rejected"

    number = models.CharField(max_length=64, unique=True)
    source = models.ForeignKey(
        Account, on_delete=models.PROTECT, to_field="number", db_column="source", related_name="+", db_index=False
    )
    target = models.ForeignKey(
        Account, on_delete=models.PROTECT, to_field="number", db_column="target", related_name="+"
    )
    amount = models.PositiveBigIntegerField(help_text="In cents.")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.REQUESTED)
    reason = models.CharField(max_length=200, blank=True, help_text="Why it was rejected.")
    requested_at = models.DateTimeField(auto_now_add=True)
    recorded_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="banking_transfer_moves_something"),
            models.CheckConstraint(condition=~Q(source=F("target")), name="banking_transfer_goes_elsewhere"),
            models.CheckConstraint(
                condition=Q(status="recorded", recorded_at__isnull=False)
                | Q(status__in=["requested", "rejected"], recorded_at=None),
                name="banking_transfer_recorded_once_it_stands",
            ),
        ]
        # What an account sends, and has sent today, for its limit.
        indexes = [models.Index(fields=["source", "recorded_at"], name="banking_transfer_sent")]

    def __str__(self) -> str:
        return self.number


class LedgerEntry(models.Model):
    """One side of a posting: what it did to one account.

    Never updated, never deleted, and never one side alone: triggers refuse that (migration 0002). A mistake is
    corrected by another posting, so that the ledger tells what happened, and what was taken back.
    """

    class Posting(models.TextChoices):
        DEPOSITED = "deposited"
        DEBITED = "debited"
        CREDITED = "credited"
        CREDIT_REVERSED = "credit reversed"
        DEBIT_REVERSED = "debit reversed"

    # The constraint below has its index.
    transfer = models.ForeignKey(Transfer, on_delete=models.PROTECT, related_name="entries", db_index=False)
    posting = models.CharField(max_length=15, choices=Posting.choices)
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, to_field="number", db_column="account", related_name="entries"
    )
    amount = models.BigIntegerField(help_text="In cents; negative where it was taken from the account.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "ledger entries"
        constraints = [
            # Each posting of a transfer happens once, whoever repeats it.
            models.UniqueConstraint(fields=["transfer", "posting", "account"], name="banking_posted_once"),
            models.CheckConstraint(condition=~Q(amount=0), name="banking_entry_moves_something"),
        ]

    def __str__(self) -> str:
        return f"{self.posting} {self.amount:+d}"
