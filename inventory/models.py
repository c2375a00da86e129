"""Stock, what is reserved of it, and the ledger that explains every unit.

`services` is the only writer. The constraints are named: a violation tells which rule broke.
"""

from django.db import models
from django.db.models import F, Q


class StockItem(models.Model):
    """How much of one sku lies in the warehouse, and how much of that is promised."""

    sku = models.CharField(max_length=64, unique=True)
    on_hand = models.PositiveIntegerField(default=0)
    reserved = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["sku"]
        constraints = [
            models.CheckConstraint(
                condition=Q(reserved__gte=0) & Q(reserved__lte=F("on_hand")),
                name="stock_reserved_between_zero_and_on_hand",
            ),
        ]

    def __str__(self) -> str:
        return self.sku

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


class Reservation(models.Model):
    """Goods promised to one reference.

    RELEASED is also the tombstone of a release that came before its reservation:
    the unique reference makes the late reservation impossible.
    """

    class Status(models.TextChoices):
        HELD = "HELD", "held"
        RELEASED = "RELEASED", "released"
        COMMITTED = "COMMITTED", "committed"

    reference = models.CharField(max_length=64, unique=True)
    status = models.CharField(max_length=16, choices=Status.choices)
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["HELD", "RELEASED", "COMMITTED"]), name="reservation_status_known"
            ),
            models.CheckConstraint(
                condition=Q(status="HELD", settled_at=None) | (~Q(status="HELD") & Q(settled_at__isnull=False)),
                name="reservation_settled_unless_held",
            ),
        ]
        indexes = [
            models.Index(fields=["id"], condition=Q(status="HELD"), name="reservation_held"),
            # The lists in the admin, by status, newest first.
            models.Index(fields=["status", "-id"], name="reservation_by_status"),
        ]

    def __str__(self) -> str:
        return self.reference


class ReservationLine(models.Model):
    """One sku of a reservation."""

    reservation = models.ForeignKey(Reservation, on_delete=models.PROTECT, related_name="lines")
    item = models.ForeignKey(StockItem, on_delete=models.PROTECT, to_field="sku", db_column="sku", related_name="+")
    quantity = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["reservation", "item"], name="reservation_line_once_per_sku"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="reservation_line_quantity_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} x {self.item_id}"


class StockMovement(models.Model):
    """One line of the ledger: why `on_hand` changed. Never updated, never deleted (a trigger refuses both)."""

    class Kind(models.TextChoices):
        RECEIVED = "RECEIVED", "received"
        SHIPPED = "SHIPPED", "shipped"
        WRITTEN_OFF = "WRITTEN_OFF", "written off"
        RETURNED = "RETURNED", "returned"

    item = models.ForeignKey(
        StockItem, on_delete=models.PROTECT, to_field="sku", db_column="sku", related_name="movements"
    )
    kind = models.CharField(max_length=16, choices=Kind.choices)
    delta = models.IntegerField()
    reference = models.CharField(max_length=64, blank=True, default="")
    return_reference = models.CharField(max_length=64, blank=True, default="")
    note = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["RECEIVED", "RETURNED"], delta__gt=0)
                | Q(kind__in=["SHIPPED", "WRITTEN_OFF"], delta__lt=0),
                name="movement_kind_and_sign_agree",
            ),
            models.UniqueConstraint(
                fields=["reference", "item"], condition=Q(kind="SHIPPED"), name="movement_shipped_once"
            ),
            models.UniqueConstraint(
                fields=["return_reference", "item"], condition=Q(kind="RETURNED"), name="movement_returned_once"
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=["SHIPPED", "RETURNED"]) | ~Q(reference=""),
                name="movement_of_a_sale_has_its_reference",
            ),
        ]
        indexes = [
            models.Index(fields=["reference"], condition=~Q(reference=""), name="movement_by_reference"),
            models.Index(fields=["return_reference"], condition=~Q(return_reference=""), name="movement_by_return"),
            models.Index(fields=["kind", "-id"], name="movement_by_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.delta:+d} {self.item_id}"
