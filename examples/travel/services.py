"""What may be done: each function is one local transaction, or joins its caller's. Called twice, it does it once."""

from django.db import transaction
from django.db.models import F, Sum

from examples.travel.models import Offer, Place, Traveller, Trip
from sagas.services import start

Kind = Offer.Kind
MOST_LETTERS = 40


class InvalidTrip(ValueError):
    """A trip that nobody can book; ``field`` is the part of the request at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class SoldOut(Exception):
    """No place is left."""


class TooPoor(Exception):
    """There is less money on the account than the trip costs."""


def book_trip(number: str, traveller: str, *, flight: str, hotel: str, car: str) -> Trip:
    """Store the trip and start the saga that books it, in one commit. The same again is the same trip.

    Raises `InvalidTrip`, and then nothing is stored.
    """
    from examples.travel.saga import BookTrip, TripData

    with transaction.atomic():
        wanted = _wanted(number, traveller, {Kind.FLIGHT: flight, Kind.HOTEL: hotel, Kind.CAR: car})
        trip, _ = Trip.objects.get_or_create(number=number, defaults=wanted)
        if any(getattr(trip, field) != value for field, value in wanted.items()):
            raise InvalidTrip("number", f"There is another trip {number}.")
        start(BookTrip, TripData(number), key=number)
    return trip


def _wanted(number: str, traveller: str, codes: dict[Kind, str]) -> dict[str, Traveller | Offer]:
    """The rows that a trip is about, each by the name of its field."""
    if not 0 < len(number) <= MOST_LETTERS:
        raise InvalidTrip("number", f"The number of a trip has 1 to {MOST_LETTERS} characters.")
    person = Traveller.objects.filter(name=traveller).first()
    if person is None:
        raise InvalidTrip("traveller", f"There is no traveller {traveller}.")
    offers = {offer.code: offer for offer in Offer.objects.filter(code__in=codes.values())}
    for kind, code in codes.items():
        if code not in offers or offers[code].kind != kind:
            raise InvalidTrip(kind.value, f"There is no {kind.value} {code}.")
    return {"traveller": person} | {kind.value: offers[code] for kind, code in codes.items()}


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
