"""What may be done with payments.

The functions named ``open_``, ``begin_`` and ``record_`` write rows in the caller's transaction. The
others call the gateway: outside any transaction, touching no rows. Every change of a row is one
conditional UPDATE or one unique INSERT, so that an answer, a webhook and a void may race. Where that
is all, there is no `atomic` and no savepoint: one statement is whole by itself.
"""

import functools
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Sum
from django.db.models.functions import Now

from money import Money
from payments.exceptions import (
    AlreadyCaptured,
    AlreadyVoided,
    ContradictoryAnswer,
    NotAuthorized,
    PaymentMismatch,
    RefundExceedsCapture,
    UnknownPayment,
    UnknownRefund,
)
from payments.gateway import (
    Authorization,
    AuthorizationRequest,
    Capture,
    CaptureRequest,
    Gateway,
    RefundReceipt,
    RefundRequest,
    VoidRequest,
)
from payments.late_money import LateMoney, late_money, late_money_by_event, record_given_back
from payments.late_money import give_back as _give_back
from payments.models import Payment, Refund
from payments.webhooks import EventReceipt, apply_pending_events, receive_event

__all__ = [
    "Authorization",
    "AuthorizationRequest",
    "Capture",
    "CaptureRequest",
    "EventReceipt",
    "LateMoney",
    "RefundReceipt",
    "RefundRequest",
    "VoidRequest",
    "apply_pending_events",
    "authorize",
    "begin_capture",
    "begin_refund",
    "begin_void",
    "capture",
    "close_unanswered",
    "find_authorization",
    "find_capture",
    "find_refund",
    "give_late_money_back",
    "late_money",
    "late_money_by_event",
    "open_payment",
    "receive_event",
    "record_authorized",
    "record_captured",
    "record_declined",
    "record_given_back",
    "record_refund_refused",
    "record_refunded",
    "record_voided",
    "refund",
    "void",
]

Status = Payment.Status

_OPEN = """
    INSERT INTO payments_payment (reference, status, amount, currency, payment_method, authorization_key,
                                  authorized_amount, captured_amount, refunded_amount,
                                  decline_code, decline_message, created_at, updated_at)
    VALUES (%s, %s, %s, %s, %s, %s, 0, 0, 0, '', '', clock_timestamp(), clock_timestamp())
    ON CONFLICT (reference) DO NOTHING
"""

_OPEN_REFUND = """
    INSERT INTO payments_refund (payment_id, refund_reference, status, amount, created_at, updated_at)
    VALUES (%s, %s, 'UNKNOWN', %s, clock_timestamp(), clock_timestamp())
    ON CONFLICT (refund_reference) DO NOTHING
"""


def open_payment(reference: str, money: Money, payment_method: str, *, key: str) -> AuthorizationRequest:
    """Store the intent to authorize ``money``; commit it before the call.

    Called again with the same words it returns the same request. A declined payment may be opened
    again with a new ``key``. Raises `AlreadyVoided`, `PaymentMismatch`.
    """
    values = (money.amount, money.currency, payment_method, key)
    if not _insert(_OPEN, reference, Status.UNKNOWN, *values):
        payment = _payment(reference)
        if payment.status in (Status.VOIDING, Status.VOIDED):
            raise AlreadyVoided(reference)
        if payment.status == Status.DECLINED and key != payment.authorization_key:
            if not _open_again(payment, money, payment_method, key):
                raise PaymentMismatch(reference)
        elif (payment.amount, payment.currency, payment.payment_method, payment.authorization_key) != values:
            raise PaymentMismatch(reference)
    return AuthorizationRequest(reference, money.amount, money.currency, payment_method)


def record_authorized(reference: str, authorization: Authorization) -> None:
    """The money is held. Raises `AlreadyVoided` when a void came first: the hold must be undone."""
    if _move(
        reference,
        [Status.UNKNOWN],
        Status.AUTHORIZED,
        intent_id=authorization.intent_id,
        authorized_amount=authorization.amount,
    ):
        return
    payment = _payment(reference)
    if payment.status in (Status.VOIDING, Status.VOIDED):
        raise AlreadyVoided(reference)
    if payment.status == Status.DECLINED or payment.intent_id != authorization.intent_id:
        raise ContradictoryAnswer(reference, payment.status, f"authorized {authorization.intent_id}")


def record_declined(reference: str, code: str, message: str) -> None:
    """The bank said no; ``message`` is shown to the shopper. After a void it changes nothing."""
    if _move(reference, [Status.UNKNOWN], Status.DECLINED, decline_code=code[:100], decline_message=message[:300]):
        return
    payment = _payment(reference)
    if payment.status in (Status.AUTHORIZED, Status.CAPTURED):
        raise ContradictoryAnswer(reference, payment.status, f"declined ({code})")


def begin_void(reference: str) -> VoidRequest:
    """Store the intent to void. Where no payment is, the row becomes a tombstone that refuses a late one.

    Called again it returns the same request. Raises `AlreadyCaptured`.
    """
    if _insert(_OPEN, reference, Status.VOIDED, 0, "", "", ""):
        return VoidRequest(reference, "", None, None)

    _move(reference, [Status.UNKNOWN, Status.AUTHORIZED], Status.VOIDING)
    payment = _payment(reference)
    if payment.status == Status.CAPTURED:
        raise AlreadyCaptured(reference)
    request = None
    if payment.amount:
        request = AuthorizationRequest(reference, payment.amount, payment.currency, payment.payment_method)
    return VoidRequest(reference, payment.authorization_key, request, payment.intent_id)


def record_voided(reference: str) -> None:
    """Nothing is held any more. A declined payment stays declined."""
    if not _move(reference, [Status.UNKNOWN, Status.AUTHORIZED, Status.VOIDING], Status.VOIDED):
        payment = _payment(reference)
        if payment.status == Status.CAPTURED:
            raise ContradictoryAnswer(reference, payment.status, "voided")


def close_unanswered(reference: str) -> None:
    """An authorization that was never answered is known to have had no effect: it is voided, and can never be made.

    Changes nothing else.
    """
    _move(reference, [Status.UNKNOWN], Status.VOIDED)


def begin_capture(reference: str) -> CaptureRequest:
    """The request that takes the held money. Raises `AlreadyVoided`, `NotAuthorized`."""
    payment = _payment(reference)
    if payment.status in (Status.VOIDING, Status.VOIDED):
        raise AlreadyVoided(reference)
    if payment.intent_id is None or payment.status not in (Status.AUTHORIZED, Status.CAPTURED):
        raise NotAuthorized(reference)
    return CaptureRequest(reference, payment.intent_id, payment.amount, payment.currency)


def record_captured(reference: str, capture: Capture) -> None:
    """The money is ours. Called again with the same capture it does nothing."""
    if _move(reference, [Status.AUTHORIZED], Status.CAPTURED, captured_amount=capture.amount):
        return
    payment = _payment(reference)
    if (payment.status, payment.captured_amount) != (Status.CAPTURED, capture.amount):
        raise ContradictoryAnswer(reference, payment.status, f"captured {capture.amount}")


@transaction.atomic
def begin_refund(reference: str, refund_reference: str, money: Money) -> RefundRequest:
    """Store the intent to give ``money`` back, once for each ``refund_reference``.

    Refunds not known to have failed count against what was captured: two at once cannot give back
    more. Raises `RefundExceedsCapture`, `PaymentMismatch`, `UnknownPayment`.
    """
    payment = _payment(reference, lock=True)
    if money.currency != payment.currency or money.amount <= 0:
        raise PaymentMismatch(refund_reference)
    if _insert(_OPEN_REFUND, payment.pk, refund_reference, money.amount):
        live = payment.refunds.exclude(status=Refund.Status.FAILED).aggregate(total=Sum("amount"))["total"]
        if payment.intent_id is None or live > payment.captured_amount:
            raise RefundExceedsCapture(reference)
    else:
        refund = Refund.objects.get(refund_reference=refund_reference)
        if (refund.payment_id, refund.amount) != (payment.pk, money.amount):
            raise PaymentMismatch(refund_reference)
    return RefundRequest(refund_reference, reference, payment.intent_id or "", money.amount, money.currency)


@transaction.atomic
def record_refunded(refund_reference: str, receipt: RefundReceipt) -> None:
    """The money went back. Called again with the same receipt it does nothing."""
    changed = Refund.objects.filter(refund_reference=refund_reference, status=Refund.Status.UNKNOWN).update(
        status=Refund.Status.SUCCEEDED, refund_id=receipt.refund_id, updated_at=Now()
    )
    refund = Refund.objects.filter(refund_reference=refund_reference).first()
    if refund is None:
        raise UnknownRefund(refund_reference)
    if changed:
        Payment.objects.filter(pk=refund.payment_id).update(
            refunded_amount=F("refunded_amount") + refund.amount, updated_at=Now()
        )
    elif refund.refund_id != receipt.refund_id:
        raise ContradictoryAnswer(refund_reference, refund.status, f"refunded {receipt.refund_id}")


def record_refund_refused(refund_reference: str) -> None:
    """The gateway certainly gave nothing back; another refund may be begun under another reference."""
    Refund.objects.filter(refund_reference=refund_reference, status=Refund.Status.UNKNOWN).update(
        status=Refund.Status.FAILED, updated_at=Now()
    )


def authorize(request: AuthorizationRequest, *, key: str, timeout: timedelta) -> Authorization:
    """Ask the gateway to hold the money."""
    return gateway().authorize(request, key=key, timeout=timeout)


def find_authorization(request: AuthorizationRequest, *, key: str, timeout: timedelta) -> Authorization:
    """Ask what became of an authorization."""
    return gateway().find_authorization(request, key=key, timeout=timeout)


def void(request: VoidRequest, *, key: str, timeout: timedelta) -> None:
    """Let the money go; a late authorization can no longer happen. Nothing there is a success."""
    gateway().void(request, key=key, timeout=timeout)


def capture(request: CaptureRequest, *, key: str, timeout: timedelta) -> Capture:
    """Take the held money."""
    return gateway().capture(request, key=key, timeout=timeout)


def find_capture(request: CaptureRequest, *, timeout: timedelta) -> Capture:
    """Ask whether the money was taken."""
    return gateway().find_capture(request, timeout=timeout)


def refund(request: RefundRequest, *, key: str, timeout: timedelta) -> RefundReceipt:
    """Give the money back."""
    return gateway().refund(request, key=key, timeout=timeout)


def find_refund(request: RefundRequest, *, timeout: timedelta) -> RefundReceipt:
    """Ask whether the money went back."""
    return gateway().find_refund(request, timeout=timeout)


def give_late_money_back(money: LateMoney, *, key: str, timeout: timedelta) -> None:
    """Let go of money that is held for a payment that is over, or refund it."""
    _give_back(gateway(), money, key=key, timeout=timeout)


def gateway() -> Gateway:
    """The gateway of the settings, one for the process: its connections are pooled."""
    return _gateway(settings.BANK_URL, settings.BANK_API_KEY)


@functools.cache
def _gateway(url: str, api_key: str) -> Gateway:
    # Here and not above: most processes call no bank, and the SDK would be a tenth of their start.
    from payments.adapters.stripe import StripeGateway

    return StripeGateway(url, api_key)


def _insert(statement: str, *values: str | int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return bool(cursor.rowcount == 1)


def _move(reference: str, before: list[Payment.Status], after: Payment.Status, **columns: object) -> bool:
    changed = Payment.objects.filter(reference=reference, status__in=before).update(
        status=after, updated_at=Now(), **columns
    )
    return changed == 1


def _open_again(payment: Payment, money: Money, payment_method: str, key: str) -> bool:
    return _move(
        payment.reference,
        [Status.DECLINED],
        Status.UNKNOWN,
        amount=money.amount,
        currency=money.currency,
        payment_method=payment_method,
        authorization_key=key,
        intent_id=None,
        decline_code="",
        decline_message="",
    )


def _payment(reference: str, *, lock: bool = False) -> Payment:
    payments = Payment.objects.select_for_update() if lock else Payment.objects.all()
    try:
        return payments.get(reference=reference)
    except Payment.DoesNotExist:
        raise UnknownPayment(reference) from None
