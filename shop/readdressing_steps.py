"""The steps of a change of address: the new parcel is certain before the old one is given up."""

from dataclasses import dataclass, fields

from sagas.definition import Context, remote
from sagas.outcomes import CheckAnswer, Refused
from shipping import services as shipping
from shipping.answers import carrier_answers, proof_of_booking
from shop import services as shop
from shop.models import AddressWish, Order, shipment_reference
from shop.outside import Mail, deliver
from shop.selectors import order_with_lines
from shop.wording import WHY_NO_OTHER_ADDRESS, why_not_readdressed


@dataclass(frozen=True, slots=True)
class ReaddressingData:
    """``parcel`` is the number of the new one; the address is told by its `AddressWish`."""

    order_number: str
    parcel: int

    @property
    def reference(self) -> str:
        return shipment_reference(self.order_number, self.parcel)


Ctx = Context[ReaddressingData]


def keep_address(ctx: Ctx, receipt: None) -> Mail:
    """The first parcel was not stopped, so it stays booked; a second one that was never answered is never made."""
    order = order_with_lines(ctx.data.order_number)
    shipping.withdraw_cancel(order.shipment_reference)
    shipping.close_unanswered(ctx.data.reference)
    why = WHY_NO_OTHER_ADDRESS.get(order.status) or why_not_readdressed(ctx.failure.code if ctx.failure else "")
    return _mail(order, "keeps its address", why)


@remote(prepare=keep_address, service="mail")
def tell_that_address_stands(ctx: Ctx, mail: Mail) -> None:
    deliver(ctx, mail)


def check_not_sent(ctx: Ctx) -> None:
    """It may have waited in line for another saga: see what has become of the order."""
    order = order_with_lines(ctx.data.order_number)
    if order.status != Order.Status.CONFIRMED:
        raise Refused("not_confirmed", f"the order is {order.status}")


# --- the new parcel ---------------------------------------------------------------------------------


def open_new_parcel(ctx: Ctx) -> shipping.BookingRequest:
    order, wished = order_with_lines(ctx.data.order_number), _wished(ctx)
    weight = sum(line.weight_grams * line.quantity for line in order.lines.all())
    line1 = ", ".join(filter(None, (wished.line1, wished.line2)))
    address = shipping.Address(wished.name, line1, wished.city, wished.postal_code, wished.country)
    with carrier_answers():
        return shipping.open_shipment(ctx.data.reference, address, weight)


def record_new_parcel(ctx: Ctx, booking: shipping.Booking) -> None:
    shipping.record_booked(ctx.data.reference, booking)


def record_new_parcel_refused(ctx: Ctx, refused: Refused) -> None:
    shipping.record_refused(ctx.data.reference, refused.code, refused.message)


@remote(prepare=open_new_parcel, record=record_new_parcel, refused=record_new_parcel_refused, service="carrier")
def book_new_parcel(ctx: Ctx, request: shipping.BookingRequest) -> shipping.Booking:
    with carrier_answers():
        return shipping.book(request, key=ctx.idempotency_key, timeout=ctx.timeout)


def find_new_parcel(ctx: Ctx, request: shipping.BookingRequest) -> CheckAnswer[shipping.Booking]:
    return proof_of_booking(lambda: shipping.find_booking(request, key=ctx.idempotency_key, timeout=ctx.timeout))


def begin_cancel_new_parcel(ctx: Ctx, receipt: shipping.Booking | None) -> shipping.CancelRequest:
    return shipping.begin_cancel(ctx.data.reference)


def record_new_parcel_cancelled(ctx: Ctx, receipt: None) -> None:
    shipping.record_cancelled(ctx.data.reference)


@remote(prepare=begin_cancel_new_parcel, record=record_new_parcel_cancelled, service="carrier")
def cancel_new_parcel(ctx: Ctx, request: shipping.CancelRequest) -> None:
    with carrier_answers():
        shipping.cancel(request, key=ctx.idempotency_key, timeout=ctx.timeout)


# --- the old parcel, and the order --------------------------------------------------------------------


def begin_cancel_old_parcel(ctx: Ctx) -> shipping.CancelRequest:
    return shipping.begin_cancel(order_with_lines(ctx.data.order_number).shipment_reference)


def record_readdressed(ctx: Ctx, receipt: None) -> None:
    """The order changes its parcel in the commit that knows of it: it is never without one."""
    shipping.record_cancelled(order_with_lines(ctx.data.order_number).shipment_reference)
    shop.readdress_order(ctx.data.order_number, _wished(ctx), parcel=ctx.data.parcel)


@remote(prepare=begin_cancel_old_parcel, record=record_readdressed, service="carrier")
def cancel_old_parcel(ctx: Ctx, request: shipping.CancelRequest) -> None:
    """Give the old label back. The carrier refuses when that parcel is on its way; then the address stands."""
    with carrier_answers():
        shipping.cancel(request, key=ctx.idempotency_key, timeout=ctx.timeout)


def compose_readdressed(ctx: Ctx) -> Mail:
    order, to = order_with_lines(ctx.data.order_number), _wished(ctx)
    lines = filter(None, (to.name, to.line1, to.line2, f"{to.postal_code} {to.city}", to.country))
    return _mail(order, "has another address", "\n".join(["Your parcel now goes to:", *lines]))


@remote(prepare=compose_readdressed, service="mail")
def send_readdressed(ctx: Ctx, mail: Mail) -> None:
    deliver(ctx, mail)


def _wished(ctx: Ctx) -> shop.Address:
    wish = AddressWish.objects.get(order__number=ctx.data.order_number, parcel=ctx.data.parcel)
    return shop.Address(**{part.name: getattr(wish, part.name) for part in fields(shop.Address)})


def _mail(order: Order, what: str, body: str) -> Mail:
    return Mail(order.email, f"Your order {order.number} {what}", f"{body}\n\nYour order: {shop.order_link(order)}\n")
