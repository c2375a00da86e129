"""What a travel agency knows: what there is, what is held of it for whom, and who has how much money."""

from django.db import models
from django.db.models import F, Q


class Offer(models.Model):
    """So many places on one flight, in one hotel, of one kind of car."""

    class Kind(models.TextChoices):
        FLIGHT = "flight"
        HOTEL = "hotel"
        CAR = "car"

    code = models.CharField(max_length=40, unique=True)
    kind = models.CharField(max_length=6, choices=Kind.choices)
    price_amount = models.PositiveIntegerField("price", help_text="In cents.")
    capacity = models.PositiveIntegerField()
    taken = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["code"]
        constraints = [
            # Nothing is ever overbooked, whoever writes.
            models.CheckConstraint(condition=Q(taken__lte=F("capacity")), name="travel_offer_not_overbooked"),
            models.CheckConstraint(condition=Q(kind__in=["flight", "hotel", "car"]), name="travel_offer_kind_known"),
        ]

    def __str__(self) -> str:
        return self.code


class Traveller(models.Model):
    """Somebody with money on account."""

    name = models.CharField(max_length=100, unique=True)
    balance_amount = models.PositiveIntegerField("balance", help_text="In cents.")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(balance_amount__gte=0), name="travel_balance_not_negative"),
        ]

    def __str__(self) -> str:
        return self.name


class Trip(models.Model):
    class Status(models.TextChoices):
        REQUESTED = "requested"
        BOOKED = "booked"
        CANCELLED = "cancelled"

    number = models.CharField(max_length=40, unique=True)
    traveller = models.ForeignKey(Traveller, on_delete=models.PROTECT, related_name="trips")
    flight = models.ForeignKey(Offer, on_delete=models.PROTECT, related_name="+")
    hotel = models.ForeignKey(Offer, on_delete=models.PROTECT, related_name="+")
    car = models.ForeignKey(Offer, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.REQUESTED)
    reason = models.CharField(max_length=200, blank=True, help_text="Why it was cancelled.")
    paid_amount = models.PositiveIntegerField(default=0, help_text="In cents.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.number


class Place(models.Model):
    """One place of an offer, held for a trip; or the tombstone of one that was given back before it was held."""

    class Status(models.TextChoices):
        HELD = "held"
        RELEASED = "released"

    trip_number = models.CharField(max_length=40)
    offer = models.ForeignKey(Offer, on_delete=models.PROTECT, related_name="places")
    status = models.CharField(max_length=8, choices=Status.choices)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["trip_number", "offer"], name="travel_place_once_per_trip")]

    def __str__(self) -> str:
        return f"{self.offer_id} for {self.trip_number}"
