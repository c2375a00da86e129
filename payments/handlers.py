"""What payments does about the events of others. Names and members are what they publish, not their code.

A call to the bank stands between two commits: its intent, and its result with the event that tells of it.
"""

from dataclasses import dataclass

from money import Money
from payments import services as payments
from payments.answers import bank_answers, proof_of_payment
from payments.events import CaptureRefused, PaymentAuthorized, PaymentCaptured, PaymentDeclined, PaymentVoided
from sagas.choreography.services import Delivery, heard, heard_before, publish, subscribe
from sagas.definition import Context, Retry, minutes, remote, seconds
from sagas.outcomes import CheckAnswer, Refused

Ctx = Context[Delivery]

# A bank may be down for a while; the deadline ends it, not the count.
patient = Retry(attempts=100)
DEADLINE = minutes(30)
TIMEOUT = seconds(20)


@dataclass(frozen=True, slots=True)
class Price:
    """Of an order that was placed: what it costs, and the bank's token to pay it with."""

    amount: int
    currency: str
    payment_method: str


@dataclass(frozen=True, slots=True)
class Why:
    code: str
    message: str


# --- hold the money, or say that it cannot be held -------------------------------------------------


def open_payment(ctx: Ctx) -> payments.AuthorizationRequest:
    price = heard_before(ctx, "shop.order_placed").read(Price)
    total = Money(price.amount, price.currency)
    with bank_answers():
        return payments.open_payment(ctx.data.subject, total, price.payment_method, key=ctx.idempotency_key)


def record_authorization(ctx: Ctx, authorization: payments.Authorization) -> None:
    payments.record_authorized(ctx.data.subject, authorization)


def record_decline(ctx: Ctx, refused: Refused) -> None:
    payments.record_declined(ctx.data.subject, refused.code, refused.message)


def find_authorization(ctx: Ctx, request: payments.AuthorizationRequest) -> CheckAnswer[payments.Authorization]:
    return proof_of_payment(lambda: payments.find_authorization(request, key=ctx.idempotency_key, timeout=ctx.timeout))


def begin_void_of_unknown(ctx: Ctx, receipt: payments.Authorization | None) -> payments.VoidRequest:
    return payments.begin_void(ctx.data.subject)


def record_void_of_unknown(ctx: Ctx, receipt: None) -> None:
    payments.record_voided(ctx.data.subject)


@remote(prepare=begin_void_of_unknown, record=record_void_of_unknown, service="bank")
def let_go(ctx: Ctx, request: payments.VoidRequest) -> None:
    """Of an authorization that nobody knows the outcome of, or that came too late."""
    with bank_answers():
        payments.void(request, key=ctx.idempotency_key, timeout=ctx.timeout)


def tell_authorized(ctx: Ctx) -> None:
    held = ctx.receipt_of(authorize_payment)
    publish(PaymentAuthorized(held.amount, held.currency), cause=ctx.data)


def tell_declined(ctx: Ctx, receipt: None) -> None:
    assert ctx.failure is not None
    payments.close_unanswered(ctx.data.subject)
    publish(PaymentDeclined(ctx.failure.code, ctx.failure.message), cause=ctx.data)


@subscribe(
    "inventory.stock_reserved",
    check=find_authorization,
    compensation=let_go,
    then=tell_authorized,
    otherwise=tell_declined,
    retry=patient,
    timeout=TIMEOUT,
    deadline=DEADLINE,
)
@remote(prepare=open_payment, record=record_authorization, refused=record_decline, service="bank")
def authorize_payment(ctx: Ctx, request: payments.AuthorizationRequest) -> payments.Authorization:
    with bank_answers():
        return payments.authorize(request, key=ctx.idempotency_key, timeout=ctx.timeout)


# --- take it ----------------------------------------------------------------------------------------


def begin_capture(ctx: Ctx) -> payments.CaptureRequest:
    with bank_answers():
        return payments.begin_capture(ctx.data.subject)


def record_capture(ctx: Ctx, capture: payments.Capture) -> None:
    payments.record_captured(ctx.data.subject, capture)
    publish(PaymentCaptured(capture.amount, capture.currency), cause=ctx.data)


def find_capture(ctx: Ctx, request: payments.CaptureRequest) -> CheckAnswer[payments.Capture]:
    return proof_of_payment(lambda: payments.find_capture(request, timeout=ctx.timeout))


def tell_capture_refused(ctx: Ctx, receipt: None) -> None:
    assert ctx.failure is not None
    publish(CaptureRefused(ctx.failure.code, ctx.failure.message), cause=ctx.data)


@subscribe(
    "shipping.shipment_booked",
    check=find_capture,
    otherwise=tell_capture_refused,
    retry=patient,
    timeout=TIMEOUT,
    deadline=DEADLINE,
)
@remote(prepare=begin_capture, record=record_capture, service="bank")
def capture_payment(ctx: Ctx, request: payments.CaptureRequest) -> payments.Capture:
    """Take the money: from here on the order is carried out. An outcome that stays unknown is for a person."""
    with bank_answers():
        return payments.capture(request, key=ctx.idempotency_key, timeout=ctx.timeout)


# --- let it go: our compensation ------------------------------------------------------------------------


def begin_void(ctx: Ctx) -> payments.VoidRequest:
    return payments.begin_void(ctx.data.subject)


def record_void(ctx: Ctx, receipt: None) -> None:
    why = heard(ctx).read(Why)
    payments.record_voided(ctx.data.subject)
    publish(PaymentVoided(why.code, why.message), cause=ctx.data)


@subscribe("shipping.shipment_refused", "shipping.shipment_cancelled", timeout=TIMEOUT)
@remote(prepare=begin_void, record=record_void, service="bank")
def void_payment(ctx: Ctx, request: payments.VoidRequest) -> None:
    with bank_answers():
        payments.void(request, key=ctx.idempotency_key, timeout=ctx.timeout)
