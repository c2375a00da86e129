"""The steps of a booking, each beside what undoes it."""

from dataclasses import dataclass

from examples.travel import services as travel
from examples.travel.models import Offer, Trip
from sagas.definition import Context
from sagas.outcomes import Refused


@dataclass(frozen=True)
class TripData:
    number: str


Ctx = Context[TripData]


def cancel_trip(ctx: Ctx, receipt: None) -> None:
    travel.close(ctx.data.number, Trip.Status.CANCELLED, ctx.failure.message if ctx.failure else "")


def reserve_flight(ctx: Ctx) -> None:
    _hold(ctx, _trip(ctx).flight)


def release_flight(ctx: Ctx, receipt: None) -> None:
    travel.release_place(ctx.data.number, _trip(ctx).flight)


def reserve_hotel(ctx: Ctx) -> None:
    _hold(ctx, _trip(ctx).hotel)


def release_hotel(ctx: Ctx, receipt: None) -> None:
    travel.release_place(ctx.data.number, _trip(ctx).hotel)


def reserve_car(ctx: Ctx) -> None:
    _hold(ctx, _trip(ctx).car)


def release_car(ctx: Ctx, receipt: None) -> None:
    travel.release_place(ctx.data.number, _trip(ctx).car)


def take_payment(ctx: Ctx) -> int:
    """From here on the trip is booked: nothing after it can say no."""
    try:
        return travel.pay(_trip(ctx))
    except travel.TooPoor as error:
        raise Refused("too_poor", "There is not enough money on the account.") from error


def confirm_trip(ctx: Ctx) -> None:
    travel.close(ctx.data.number, Trip.Status.BOOKED)


def _trip(ctx: Ctx) -> Trip:
    return Trip.objects.select_related("traveller", "flight", "hotel", "car").get(number=ctx.data.number)


def _hold(ctx: Ctx, offer: Offer) -> None:
    try:
        travel.hold_place(ctx.data.number, offer)
    except travel.SoldOut as error:
        raise Refused("sold_out", f"{offer.kind} {offer.code} is sold out.") from error
