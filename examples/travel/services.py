"""What may be done: each function is one local transaction, or joins its caller's. Called twice, it does it once."""

from django.db import transaction
from django.db.models import F, Sum

from examples.travel.models import Offer, Place, Traveller, Trip
from sagas.starting import start


class SoldOut(Exception):
    """No place is left."""


class TooPoor(Exception):
    """There is less money on the account than the trip costs."""


def book_trip(number: str, traveller: str, *, flight: str, hotel: str, car: str) -> Trip:
    """Store the trip and start the saga that books it, in one commit. The same number again is the same trip."""
    from examples.travel.saga import BookTrip, TripData

    with transaction.atomic():
        offers = {offer.code: offer for offer in Offer.objects.filter(code__in=[flight, hotel, car])}
        trip, _ = Trip.objects.get_or_create(
            number=number,
            defaults={
                "traveller": Traveller.objects.get(name=traveller),
                "flight": offers[flight],
                "hotel": offers[hotel],
                "car": offers[car],
            },
        )
        start(BookTrip, TripData(number), key=number)
    return trip


@transaction.atomic
def hold_place(trip_number: str, offer: Offer) -> None:
    """Take one place. Raises `SoldOut`, also after `release_place` was here first."""
    place, is_new = Place.objects.get_or_create(
        trip_number=trip_number, offer=offer, defaults={"status": Place.Status.HELD}
    )
    if place.status == Place.Status.RELEASED:
        raise SoldOut(offer.code)
    if is_new and not Offer.objects.filter(pk=offer.pk, taken__lt=F("capacity")).update(taken=F("taken") + 1):
        raise SoldOut(offer.code)


@transaction.atomic
def release_place(trip_number: str, offer: Offer) -> None:
    """Give the place back; one that was never held can no longer be."""
    _, is_new = Place.objects.get_or_create(
        trip_number=trip_number, offer=offer, defaults={"status": Place.Status.RELEASED}
    )
    held = Place.objects.filter(trip_number=trip_number, offer=offer, status=Place.Status.HELD)
    if not is_new and held.update(status=Place.Status.RELEASED):
        Offer.objects.filter(pk=offer.pk).update(taken=F("taken") - 1)


@transaction.atomic
def pay(trip: Trip) -> int:
    """Take what flight, hotel and car cost. Raises `TooPoor`."""
    if trip.paid_amount:
        return trip.paid_amount
    price = Offer.objects.filter(pk__in=[trip.flight_id, trip.hotel_id, trip.car_id]).aggregate(sum=Sum("price_amount"))
    amount = int(price["sum"])
    account = Traveller.objects.filter(pk=trip.traveller_id, balance_amount__gte=amount)
    if not account.update(balance_amount=F("balance_amount") - amount):
        raise TooPoor(str(trip.traveller))
    Trip.objects.filter(pk=trip.pk).update(paid_amount=amount)
    return amount


def close(trip_number: str, status: str, reason: str = "") -> None:
    """The trip is booked, or cancelled and says why."""
    Trip.objects.filter(number=trip_number).update(status=status, reason=reason[:200])
