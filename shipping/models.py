"""Shipments and what the carrier told us about them.

A shipment row is the intent (committed before the carrier is called) and the tombstone (of a cancel
that came first). `services` and `webhooks` are the only writers, by conditional updates.
"""

from django.db import models
from django.db.models import F, Q


class Shipment(models.Model):
    """The parcel for one reference, as far as we know."""

    class Status(models.TextChoices):
        UNKNOWN = "UNKNOWN", "outcome unknown"
        BOOKED = "BOOKED", "booked"
        REFUSED = "REFUSED", "refused"
        CANCELLING = "CANCELLING", "being cancelled"
        CANCELLED = "CANCELLED", "cancelled"

    class Tracking(models.TextChoices):
        """In the order in which a parcel goes through them."""

        PRE_TRANSIT = "pre_transit", "waiting for the carrier"
        IN_TRANSIT = "in_transit", "on its way"
        OUT_FOR_DELIVERY = "out_for_delivery", "out for delivery"
        DELIVERED = "delivered", "delivered"
        RETURNED = "return_to_sender", "coming back"

    reference = models.CharField(max_length=64, unique=True)
    status = models.CharField(max_length=16, choices=Status.choices)
    name = models.CharField(max_length=200, blank=True)
    line1 = models.CharField(max_length=250, blank=True, help_text="Both lines of an order's address in one.")
    city = models.CharField(max_length=100, blank=True)
    postal_code = models.CharField(max_length=20, blank=True)
    country = models.CharField(max_length=2, blank=True)
    weight_grams = models.PositiveBigIntegerField(help_text="0 for the tombstone of a shipment never booked")
    shipment_id = models.CharField(max_length=100, unique=True, null=True, blank=True)
    tracking_code = models.CharField(max_length=100, blank=True, default="")
    carrier = models.CharField(max_length=50, blank=True, default="")
    tracking_status = models.CharField(max_length=20, choices=Tracking.choices, blank=True, default="")
    refusal_code = models.CharField(max_length=100, blank=True, default="")
    refusal_message = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["UNKNOWN", "BOOKED", "REFUSED", "CANCELLING", "CANCELLED"]),
                name="shipment_status_known",
            ),
            models.CheckConstraint(
                condition=Q(
                    tracking_status__in=[
                        "",
                        "pre_transit",
                        "in_transit",
                        "out_for_delivery",
                        "delivered",
                        "return_to_sender",
                    ]
                ),
                name="shipment_tracking_status_known",
            ),
            models.CheckConstraint(
                condition=~Q(status="BOOKED") | (Q(shipment_id__isnull=False) & ~Q(tracking_code="")),
                name="shipment_booked_has_tracking_code",
            ),
            models.CheckConstraint(
                condition=Q(weight_grams__gt=0) | Q(status="CANCELLED"), name="shipment_weight_positive"
            ),
        ]
        indexes = [
            models.Index(fields=["tracking_code"], condition=~Q(tracking_code=""), name="shipment_by_tracking_code"),
            models.Index(
                fields=["updated_at"], condition=Q(status__in=["UNKNOWN", "CANCELLING"]), name="shipment_unsettled"
            ),
            # The lists in the admin, by status, newest first.
            models.Index(fields=["status", "-id"], name="shipment_by_status"),
            models.Index(fields=["tracking_status", "-id"], name="shipment_by_tracking_status"),
        ]

    def __str__(self) -> str:
        return self.reference


class TrackingEvent(models.Model):
    """The carrier's webhook inbox: stored raw, once by event id, then applied."""

    class Status(models.TextChoices):
        RECEIVED = "RECEIVED", "to be applied"
        APPLIED = "APPLIED", "applied"
        SUPERSEDED = "SUPERSEDED", "nothing new"
        OPEN = "OPEN", "needs a person"
        EXPIRED = "EXPIRED", "given up, never cleared up"

    event_id = models.CharField(max_length=100, unique=True)
    tracking_code = models.CharField(max_length=100, blank=True)
    tracking_status = models.CharField(max_length=50, blank=True)
    message = models.CharField(max_length=300, blank=True)
    payload = models.TextField()
    status = models.CharField(max_length=16, choices=Status.choices)
    note = models.CharField(max_length=300, blank=True, default="")
    received_at = models.DateTimeField(auto_now_add=True)
    tried_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["RECEIVED", "APPLIED", "SUPERSEDED", "OPEN", "EXPIRED"]),
                name="tracking_event_status_known",
            ),
        ]
        indexes = [
            models.Index(fields=["tracking_code", "id"], name="tracking_event_by_code"),
            models.Index(
                F("tried_at").asc(nulls_first=True),
                F("id"),
                condition=Q(status__in=["RECEIVED", "OPEN"]),
                name="tracking_event_unsettled",
            ),
            models.Index(fields=["status", "-id"], name="tracking_event_by_status"),
        ]

    def __str__(self) -> str:
        return self.event_id
