"""What shipping does about the events of others. Names and members are what they publish, not their code.

A call to the carrier stands between two commits: its intent, and its result with the event that tells of it.
"""

from dataclasses import dataclass

from sagas.choreography.services import Delivery, heard, heard_before, publish, subscribe
from sagas.definition import Context, Retry, minutes, remote, seconds
from sagas.outcomes import CheckAnswer, Refused
from shipping import services as shipping
from shipping.answers import carrier_answers, proof_of_booking
from shipping.events import ShipmentBooked, ShipmentCancelled, ShipmentRefused

Ctx = Context[Delivery]

# A carrier may be down for a while; the deadline ends it, not the count.
patient = Retry(attempts=100)
DEADLINE = minutes(30)
TIMEOUT = seconds(20)


@dataclass(frozen=True, slots=True)
class Parcel:
    """Of an order that was placed: where it goes, and what it weighs."""

    address: shipping.Address
    weight_grams: int


@dataclass(frozen=True, slots=True)
class Why:
    code: str
    message: str


# --- book a parcel, or say that none goes there -----------------------------------------------------


def open_shipment(ctx: Ctx) -> shipping.BookingRequest:
    parcel = heard_before(ctx, "shop.order_placed").read(Parcel)
    with carrier_answers():
        return shipping.open_shipment(ctx.data.subject, parcel.address, parcel.weight_grams)


def record_booking(ctx: Ctx, booking: shipping.Booking) -> None:
    shipping.record_booked(ctx.data.subject, booking)


def record_booking_refused(ctx: Ctx, refused: Refused) -> None:
    shipping.record_refused(ctx.data.subject, refused.code, refused.message)


def find_booking(ctx: Ctx, request: shipping.BookingRequest) -> CheckAnswer[shipping.Booking]:
    return proof_of_booking(lambda: shipping.find_booking(request, key=ctx.idempotency_key, timeout=ctx.timeout))


def begin_to_give_back(ctx: Ctx, receipt: shipping.Booking | None) -> shipping.CancelRequest:
    return shipping.begin_cancel(ctx.data.subject)


def record_given_back(ctx: Ctx, receipt: None) -> None:
    shipping.record_cancelled(ctx.data.subject)


@remote(prepare=begin_to_give_back, record=record_given_back, service="carrier")
def give_back(ctx: Ctx, request: shipping.CancelRequest) -> None:
    """Of a booking that nobody knows the outcome of, or that came too late."""
    with carrier_answers():
        shipping.cancel(request, key=ctx.idempotency_key, timeout=ctx.timeout)


def tell_booked(ctx: Ctx) -> None:
    booking = ctx.receipt_of(book_shipment)
    publish(ShipmentBooked(booking.carrier, booking.tracking_code), cause=ctx.data)


def tell_refused(ctx: Ctx, receipt: None) -> None:
    assert ctx.failure is not None
    shipping.close_unanswered(ctx.data.subject)
    publish(ShipmentRefused(ctx.failure.code, ctx.failure.message), cause=ctx.data)


@subscribe(
    "payments.payment_authorized",
    check=find_booking,
    compensation=give_back,
    then=tell_booked,
    otherwise=tell_refused,
    retry=patient,
    timeout=TIMEOUT,
    deadline=DEADLINE,
)
@remote(prepare=open_shipment, record=record_booking, refused=record_booking_refused, service="carrier")
def book_shipment(ctx: Ctx, request: shipping.BookingRequest) -> shipping.Booking:
    with carrier_answers():
        return shipping.book(request, key=ctx.idempotency_key, timeout=ctx.timeout)


# --- give the label back: our compensation ------------------------------------------------------------


def begin_cancel(ctx: Ctx) -> shipping.CancelRequest:
    return shipping.begin_cancel(ctx.data.subject)


def record_cancelled(ctx: Ctx, receipt: None) -> None:
    why = heard(ctx).read(Why)
    shipping.record_cancelled(ctx.data.subject)
    publish(ShipmentCancelled(why.code, why.message), cause=ctx.data)


@subscribe("payments.capture_refused", timeout=TIMEOUT)
@remote(prepare=begin_cancel, record=record_cancelled, service="carrier")
def cancel_shipment(ctx: Ctx, request: shipping.CancelRequest) -> None:
    with carrier_answers():
        shipping.cancel(request, key=ctx.idempotency_key, timeout=ctx.timeout)
