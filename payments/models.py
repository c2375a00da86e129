"""Payments, refunds, and what the gateway told us by webhook.

A payment row is the intent (committed before the bank is called) and the tombstone (of a void that
came first). `services` and `webhooks` are the only writers, by conditional updates.
"""

from django.db import models
from django.db.models import F, Q


class Payment(models.Model):
    """The money for one reference, as far as we know."""

    class Status(models.TextChoices):
        UNKNOWN = "UNKNOWN", "outcome unknown"
        AUTHORIZED = "AUTHORIZED", "authorized"
        CAPTURED = "CAPTURED", "captured"
        DECLINED = "DECLINED", "declined"
        VOIDING = "VOIDING", "being voided"
        VOIDED = "VOIDED", "voided"

    reference = models.CharField(max_length=64, unique=True)
    status = models.CharField(max_length=16, choices=Status.choices)
    amount = models.BigIntegerField(help_text="in minor units; 0 for the tombstone of a payment never made")
    currency = models.CharField(max_length=3, blank=True)
    payment_method = models.CharField(max_length=100, blank=True)
    authorization_key = models.CharField(max_length=200, blank=True)
    intent_id = models.CharField(max_length=100, unique=True, null=True, blank=True)
    authorized_amount = models.BigIntegerField(default=0)
    captured_amount = models.BigIntegerField(default=0)
    refunded_amount = models.BigIntegerField(default=0)
    decline_code = models.CharField(max_length=100, blank=True, default="")
    decline_message = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["UNKNOWN", "AUTHORIZED", "CAPTURED", "DECLINED", "VOIDING", "VOIDED"]),
                name="payment_status_known",
            ),
            models.CheckConstraint(
                condition=Q(refunded_amount__gte=0)
                & Q(refunded_amount__lte=F("captured_amount"))
                & Q(captured_amount__lte=F("authorized_amount"))
                & Q(authorized_amount__lte=F("amount")),
                name="payment_refunded_captured_authorized_in_order",
            ),
            models.CheckConstraint(
                condition=Q(status="CAPTURED", captured_amount__gt=0) | (~Q(status="CAPTURED") & Q(captured_amount=0)),
                name="payment_captured_iff_status",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["AUTHORIZED", "CAPTURED"])
                | (Q(authorized_amount__gt=0) & Q(intent_id__isnull=False)),
                name="payment_authorized_has_intent",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0) | Q(status="VOIDED"), name="payment_amount_positive"),
        ]
        indexes = [
            models.Index(
                fields=["updated_at"], condition=Q(status__in=["UNKNOWN", "VOIDING"]), name="payment_unsettled"
            ),
            # The lists in the admin, by status, newest first.
            models.Index(fields=["status", "-id"], name="payment_by_status"),
        ]

    def __str__(self) -> str:
        return self.reference


class Refund(models.Model):
    """Money going back; the row is committed before the bank is asked."""

    class Status(models.TextChoices):
        UNKNOWN = "UNKNOWN", "outcome unknown"
        SUCCEEDED = "SUCCEEDED", "succeeded"
        FAILED = "FAILED", "failed"

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    refund_reference = models.CharField(max_length=64, unique=True)
    status = models.CharField(max_length=16, choices=Status.choices)
    amount = models.BigIntegerField()
    refund_id = models.CharField(max_length=100, unique=True, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["UNKNOWN", "SUCCEEDED", "FAILED"]), name="refund_status_known"
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="refund_amount_positive"),
            models.CheckConstraint(
                condition=~Q(status="SUCCEEDED") | Q(refund_id__isnull=False), name="refund_succeeded_has_id"
            ),
        ]
        indexes = [models.Index(fields=["status", "-id"], name="refund_by_status")]

    def __str__(self) -> str:
        return self.refund_reference


class GatewayEvent(models.Model):
    """The webhook inbox: stored raw, once by event id, then applied."""

    class Status(models.TextChoices):
        RECEIVED = "RECEIVED", "to be applied"
        APPLIED = "APPLIED", "applied"
        SUPERSEDED = "SUPERSEDED", "nothing new"
        LATE = "LATE", "money to be given back"
        OPEN = "OPEN", "needs a person"
        EXPIRED = "EXPIRED", "given up, never cleared up"

    event_id = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=100)
    payload = models.TextField()
    reference = models.CharField(max_length=64, blank=True, default="")
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.RECEIVED)
    note = models.CharField(max_length=300, blank=True, default="")
    received_at = models.DateTimeField(auto_now_add=True)
    tried_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["RECEIVED", "APPLIED", "SUPERSEDED", "LATE", "OPEN", "EXPIRED"]),
                name="gateway_event_status_known",
            ),
        ]
        indexes = [
            models.Index(
                F("tried_at").asc(nulls_first=True),
                F("id"),
                condition=Q(status__in=["RECEIVED", "LATE", "OPEN"]),
                name="gateway_event_unsettled",
            ),
            models.Index(fields=["status", "-id"], name="gateway_event_by_status"),
            models.Index(fields=["reference"], condition=~Q(reference=""), name="gateway_event_by_reference"),
        ]

    def __str__(self) -> str:
        return self.event_id
