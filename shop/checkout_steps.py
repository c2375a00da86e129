"""The checkout's steps beside their compensations, and where the participants' words become the saga's.

The saga's data is the order's number: everything else is read from the order, which the saga
holds, so that no address and no payment token is copied into the saga's rows.
"""

from dataclasses import dataclass

from inventory import exceptions as inventory_exceptions
from inventory import services as inventory
from money import Money
from payments import services as payments
from payments.answers import bank_answers, proof_of_payment
from sagas.definition import Context, remote
from sagas.outcomes import CheckAnswer, Refused
from shipping import services as shipping
from shipping.answers import carrier_answers, proof_of_booking
from shop import services as shop
from shop.models import Order
from shop.outside import Mail, deliver
from shop.selectors import order_with_lines
from shop.wording import why_cancelled


@dataclass(frozen=True, slots=True)
class CheckoutData:
    order_number: str


Ctx = Context[CheckoutData]


def cancel_order(ctx: Ctx, receipt: None) -> None:
    """The order was placed in the commit that started the saga; when nothing came of it, it is cancelled.

    What may have happened outside is undone by now. What is still unanswered never happened.
    """
    payments.close_unanswered(ctx.data.order_number)
    shipping.close_unanswered(ctx.data.order_number)
    code, message = (ctx.failure.code, ctx.failure.message) if ctx.failure else ("", "")
    shop.cancel_order(ctx.data.order_number, why_cancelled(code, message))


def validate_order(ctx: Ctx) -> None:
    """Refuse what can no longer be sold; prices stay those that the shopper saw."""
    order = order_with_lines(ctx.data.order_number)
    if order.status != Order.Status.PENDING:
        raise Refused("not_pending", f"the order is {order.status}")
    if order.total_amount != sum(line.unit_amount * line.quantity for line in order.lines.all()):
        raise ValueError(f"the lines of {order.number} do not add up to its total")


# --- stock ------------------------------------------------------------------------------------


def reserve_stock(ctx: Ctx) -> None:
    order = order_with_lines(ctx.data.order_number)
    try:
        inventory.reserve(order.number, {line.sku: line.quantity for line in order.lines.all()})
    except inventory_exceptions.OutOfStock as error:
        raise Refused("out_of_stock", str(error)) from error


def release_stock(ctx: Ctx, receipt: None) -> None:
    inventory.release(ctx.data.order_number)


# --- payment ----------------------------------------------------------------------------------


def open_payment(ctx: Ctx) -> payments.AuthorizationRequest:
    order = order_with_lines(ctx.data.order_number)
    total = Money(order.total_amount, order.currency)
    with bank_answers():
        return payments.open_payment(order.number, total, order.payment_method, key=ctx.idempotency_key)


def record_authorization(ctx: Ctx, authorization: payments.Authorization) -> None:
    payments.record_authorized(ctx.data.order_number, authorization)


def record_decline(ctx: Ctx, refused: Refused) -> None:
    payments.record_declined(ctx.data.order_number, refused.code, refused.message)


@remote(prepare=open_payment, record=record_authorization, refused=record_decline, service="bank")
def authorize_payment(ctx: Ctx, request: payments.AuthorizationRequest) -> payments.Authorization:
    """Have the bank hold the order's total; nothing is taken yet."""
    with bank_answers():
        return payments.authorize(request, key=ctx.idempotency_key, timeout=ctx.timeout)


def find_authorization(ctx: Ctx, request: payments.AuthorizationRequest) -> CheckAnswer[payments.Authorization]:
    return proof_of_payment(lambda: payments.find_authorization(request, key=ctx.idempotency_key, timeout=ctx.timeout))


def begin_void(ctx: Ctx, receipt: payments.Authorization | None) -> payments.VoidRequest:
    return payments.begin_void(ctx.data.order_number)


def record_void(ctx: Ctx, receipt: None) -> None:
    payments.record_voided(ctx.data.order_number)


@remote(prepare=begin_void, record=record_void, service="bank")
def void_payment(ctx: Ctx, request: payments.VoidRequest) -> None:
    """Have the bank let go of the money; also of an authorization that nobody knows the outcome of."""
    with bank_answers():
        payments.void(request, key=ctx.idempotency_key, timeout=ctx.timeout)


def begin_capture(ctx: Ctx) -> payments.CaptureRequest:
    with bank_answers():
        return payments.begin_capture(ctx.data.order_number)


def record_capture(ctx: Ctx, capture: payments.Capture) -> None:
    payments.record_captured(ctx.data.order_number, capture)


@remote(prepare=begin_capture, record=record_capture, service="bank")
def capture_payment(ctx: Ctx, request: payments.CaptureRequest) -> payments.Capture:
    """Take the money: from here on the order is carried out."""
    with bank_answers():
        return payments.capture(request, key=ctx.idempotency_key, timeout=ctx.timeout)


def find_capture(ctx: Ctx, request: payments.CaptureRequest) -> CheckAnswer[payments.Capture]:
    return proof_of_payment(lambda: payments.find_capture(request, timeout=ctx.timeout))


# --- shipment -----------------------------------------------------------------------------------


def open_shipment(ctx: Ctx) -> shipping.BookingRequest:
    order = order_with_lines(ctx.data.order_number)
    weight = sum(line.weight_grams * line.quantity for line in order.lines.all())
    address = shipping.Address(
        name=order.ship_name,
        line1=", ".join(filter(None, (order.ship_line1, order.ship_line2))),
        city=order.ship_city,
        postal_code=order.ship_postal_code,
        country=order.ship_country,
    )
    with carrier_answers():
        return shipping.open_shipment(order.number, address, weight)


def record_booking(ctx: Ctx, booking: shipping.Booking) -> None:
    shipping.record_booked(ctx.data.order_number, booking)


def record_booking_refused(ctx: Ctx, refused: Refused) -> None:
    shipping.record_refused(ctx.data.order_number, refused.code, refused.message)


@remote(prepare=open_shipment, record=record_booking, refused=record_booking_refused, service="carrier")
def book_shipment(ctx: Ctx, request: shipping.BookingRequest) -> shipping.Booking:
    with carrier_answers():
        return shipping.book(request, key=ctx.idempotency_key, timeout=ctx.timeout)


def find_booking(ctx: Ctx, request: shipping.BookingRequest) -> CheckAnswer[shipping.Booking]:
    return proof_of_booking(lambda: shipping.find_booking(request, key=ctx.idempotency_key, timeout=ctx.timeout))


def begin_cancel_shipment(ctx: Ctx, receipt: shipping.Booking | None) -> shipping.CancelRequest:
    return shipping.begin_cancel(ctx.data.order_number)


def record_shipment_cancelled(ctx: Ctx, receipt: None) -> None:
    shipping.record_cancelled(ctx.data.order_number)


@remote(prepare=begin_cancel_shipment, record=record_shipment_cancelled, service="carrier")
def cancel_shipment(ctx: Ctx, request: shipping.CancelRequest) -> None:
    with carrier_answers():
        shipping.cancel(request, key=ctx.idempotency_key, timeout=ctx.timeout)


# --- the end --------------------------------------------------------------------------------------


def confirm_order(ctx: Ctx) -> None:
    """The goods leave the stock for sale, and the order is confirmed."""
    inventory.commit(ctx.data.order_number)
    shop.confirm_order(ctx.data.order_number)


def confirmation_of(number: str) -> Mail:
    """What the shopper is written when the order is confirmed."""
    order = order_with_lines(number)
    lines = "\n".join(f"  {line.quantity} × {line.name}" for line in order.lines.all())
    body = (
        f"Thank you for your order {order.number}.\n\n{lines}\n\nTotal: {Money(order.total_amount, order.currency)}\n\n"
        f"Your order: {shop.order_link(order)}\n"
    )
    return Mail(order.email, f"Your order {order.number} is confirmed", body)


def compose_confirmation(ctx: Ctx) -> Mail:
    return confirmation_of(ctx.data.order_number)


@remote(prepare=compose_confirmation, service="mail")
def send_confirmation(ctx: Ctx, mail: Mail) -> None:
    deliver(ctx, mail)
