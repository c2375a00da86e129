"""The agency's books, to be read. Their figures change by booking a trip."""

from django.contrib import admin

from examples.travel.models import Offer, Place, Traveller, Trip
from ledger_admin import LedgerAdmin


@admin.register(Offer)
class OfferAdmin(LedgerAdmin):
    list_display = ["code", "kind", "price_amount", "capacity", "taken"]
    search_fields = ["code"]


@admin.register(Traveller)
class TravellerAdmin(LedgerAdmin):
    list_display = ["name", "balance_amount"]
    search_fields = ["name"]


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
