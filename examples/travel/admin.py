"""The agency's books, to be read. Their figures change by booking a trip."""

from django.contrib import admin
from django.urls import reverse

from examples.travel.models import Offer, Place, Traveller, Trip
from ledger_admin import LedgerAdmin
from sagas.admin.touched import MAX_ROWS, BusinessRow, register_rows


@admin.register(Offer)
class OfferAdmin(LedgerAdmin):
    list_display = ["code", "kind", "price_amount", "capacity", "taken"]
    search_fields = ["code__exact"]


@admin.register(Traveller)
class TravellerAdmin(LedgerAdmin):
    list_display = ["name", "balance_amount"]
    search_fields = ["name__exact"]


@admin.register(Trip)
class TripAdmin(LedgerAdmin):
    list_display = ["number", "traveller", "status", "reason", "paid_amount"]
    list_select_related = ["traveller"]
    search_fields = ["number__exact"]


@admin.register(Place)
class PlaceAdmin(LedgerAdmin):
    list_display = ["trip_number", "offer", "status"]
    list_select_related = ["offer"]
    search_fields = ["trip_number__exact"]


def trip_rows(references: list[str]) -> list[BusinessRow]:
    """The trips among what a saga names, for its page."""
    return [
        BusinessRow(trip.number, reverse("admin:travel_trip_change", args=[trip.pk]), trip.status, trip.reason)
        for trip in Trip.objects.filter(number__in=references)[:MAX_ROWS]
    ]


register_rows(Trip, trip_rows)
