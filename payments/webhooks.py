"""The gateway's webhooks: signature and age checked, stored raw once, then applied.

An event may be late, doubled, out of order or for another order. It makes the same conditional
transitions as an answer to our own call and never goes back: UNKNOWN, AUTHORIZED, CAPTURED.
Its amounts are compared with our intent, never believed.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DataError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from payments.exceptions import InvalidEvent
from payments.late_money import is_on_its_way_back
from payments.models import GatewayEvent, Payment, Refund

TOLERANCE_SECONDS = 300
# Longer than any saga of an order waits, and than the sender repeats an event.
KEPT_OPEN = timedelta(days=30)
Status = Payment.Status
EventStatus = GatewayEvent.Status
_SETTLED = (EventStatus.APPLIED, EventStatus.SUPERSEDED)
_UNSETTLED = (EventStatus.RECEIVED, EventStatus.LATE, EventStatus.OPEN)

_STORE = """
    INSERT INTO payments_gatewayevent (event_id, kind, payload, reference, status, note, received_at)
    VALUES (%s, %s, %s, %s, 'RECEIVED', '', clock_timestamp())
    ON CONFLICT (event_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class EventReceipt:
    """What became of an event: whether it was new, whom it is about, and its status in the inbox."""

    event_id: str
    is_new: bool
    reference: str
    status: str

    @property
    def is_late_money(self) -> bool:
        """Money is held or was taken for a payment that is over: it has to be given back."""
        return self.status == EventStatus.LATE


def receive_event(body: bytes, signature: str, *, secrets: Iterable[str] | None = None) -> EventReceipt:
    """Store a webhook and apply it. A repeated event changes nothing.

    ``signature`` is the header ``Stripe-Signature``. Raises `InvalidEvent` when no secret of the settings
    made it (several may be valid while one is replaced) or when it is older or newer than five minutes.
    """
    _verify(body, signature, settings.BANK_WEBHOOK_SECRETS if secrets is None else secrets)
    try:
        event = json.loads(body)
        subject = event["data"]["object"]
        event_id, kind = str(event["id"])[:100], str(event["type"])[:100]
        reference = str((subject.get("metadata") or {}).get("reference", ""))[:64]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidEvent("the body is not an event") from error

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_STORE, [event_id, kind, body.decode(), reference])
        is_new = cursor.rowcount == 1
    # Also a repeated one: whoever stored it may have died before applying it.
    return EventReceipt(event_id, is_new, reference, _apply(event_id))


def apply_pending_events(limit: int = 500) -> list[EventReceipt]:
    """Apply stored events that no one finished, and try the open ones again. Returns those that were settled.

    Those that were never tried come first, then those that were not for the longest: however many stay open, each
    has its turn. Open ones are given up after `KEPT_OPEN`.
    Those of late money are returned until it is given back, too.
    """
    pending = GatewayEvent.objects.filter(status__in=_UNSETTLED).order_by(F("tried_at").asc(nulls_first=True), "id")
    applied = [(event, _apply(event.event_id)) for event in pending[:limit]]
    return [
        EventReceipt(event.event_id, False, event.reference, status)
        for event, status in applied
        if status in (*_SETTLED, EventStatus.LATE)
    ]


@transaction.atomic
def _apply(event_id: str) -> str:
    event = GatewayEvent.objects.select_for_update().get(event_id=event_id)
    if event.status in (*_SETTLED, EventStatus.EXPIRED):
        return event.status
    try:
        with transaction.atomic():
            status, note = _transition(event.kind, json.loads(event.payload)["data"]["object"])
    except (KeyError, TypeError, AttributeError, ValueError, DataError) as error:
        status, note = EventStatus.OPEN, f"cannot be read: {error}"
    if status == EventStatus.OPEN and datetime.now(UTC) - event.received_at > KEPT_OPEN:
        status, note = EventStatus.EXPIRED, f"given up after {KEPT_OPEN.days} days: {note}"
    settled_at = None if status in _UNSETTLED else Now()
    GatewayEvent.objects.filter(pk=event.pk).update(
        status=status, note=note[:300], tried_at=Now(), settled_at=settled_at
    )
    return status


def _transition(kind: str, subject: dict[str, Any]) -> tuple[EventStatus, str]:
    if kind.startswith("payment_intent."):
        return _intent_transition(kind, subject)
    if kind in ("refund.updated", "refund.created", "refund.failed"):
        return _refund_transition(subject)
    return EventStatus.SUPERSEDED, "not an event we act on"


def _intent_transition(kind: str, intent: dict[str, Any]) -> tuple[EventStatus, str]:
    reference = (intent.get("metadata") or {}).get("reference", "")
    payment = Payment.objects.select_for_update().filter(reference=reference).first()
    if payment is None:
        return EventStatus.OPEN, "no payment with this reference"
    if payment.amount and (payment.amount, payment.currency.lower()) != (intent["amount"], intent["currency"]):
        return EventStatus.OPEN, "amount or currency differ from what was asked"
    if payment.intent_id not in (None, intent["id"]):
        return _of_another_intent(kind, payment, intent)

    match kind:
        case "payment_intent.amount_capturable_updated":
            return _authorized(payment, intent)
        case "payment_intent.succeeded":
            return _captured(payment, intent)
        case "payment_intent.payment_failed":
            return _declined(payment, intent)
        case "payment_intent.canceled":
            return _cancelled(payment)
    return EventStatus.SUPERSEDED, "not an event we act on"


def _of_another_intent(kind: str, payment: Payment, intent: dict[str, Any]) -> tuple[EventStatus, str]:
    """An order is paid by one intent; what another one holds or takes is given back."""
    note = f"the payment is {payment.intent_id}, the event is about {intent['id']}"
    holds = kind in ("payment_intent.amount_capturable_updated", "payment_intent.succeeded")
    return (EventStatus.LATE if holds else EventStatus.SUPERSEDED), note


def _authorized(payment: Payment, intent: dict[str, Any]) -> tuple[EventStatus, str]:
    if payment.amount and intent["amount_capturable"] != payment.amount:
        return EventStatus.OPEN, "another amount was authorized than asked"
    if payment.status == Status.UNKNOWN:
        _update(payment, status=Status.AUTHORIZED, intent_id=intent["id"], authorized_amount=payment.amount)
        return EventStatus.APPLIED, "authorized"
    if payment.status in (Status.VOIDED, Status.DECLINED):
        return EventStatus.LATE, f"money is held for a payment that is {payment.status}"
    return EventStatus.SUPERSEDED, f"the payment is {payment.status}"


def _captured(payment: Payment, intent: dict[str, Any]) -> tuple[EventStatus, str]:
    if payment.amount and intent["amount_received"] != payment.amount:
        return EventStatus.OPEN, "another amount was captured than asked"
    if payment.status in (Status.UNKNOWN, Status.AUTHORIZED):
        _update(
            payment,
            status=Status.CAPTURED,
            intent_id=intent["id"],
            authorized_amount=payment.amount,
            captured_amount=payment.amount,
        )
        return EventStatus.APPLIED, "captured"
    if payment.status == Status.CAPTURED:
        return EventStatus.SUPERSEDED, "captured already"
    # A void that is under way ends first: the event is applied again after it.
    status = EventStatus.OPEN if payment.status == Status.VOIDING else EventStatus.LATE
    return status, f"money was taken for a payment that is {payment.status}"


def _declined(payment: Payment, intent: dict[str, Any]) -> tuple[EventStatus, str]:
    if payment.status != Status.UNKNOWN:
        return EventStatus.SUPERSEDED, f"the payment is {payment.status}"
    last = intent.get("last_payment_error") or {}
    code = str(last.get("decline_code") or last.get("code") or "card_declined")
    _update(
        payment,
        status=Status.DECLINED,
        decline_code=code[:100],
        decline_message="The bank declined the card. Nothing was charged; try another card.",
    )
    return EventStatus.APPLIED, "declined"


def _cancelled(payment: Payment) -> tuple[EventStatus, str]:
    if payment.status in (Status.UNKNOWN, Status.AUTHORIZED, Status.VOIDING):
        _update(payment, status=Status.VOIDED)
        return EventStatus.APPLIED, "voided"
    if payment.status == Status.CAPTURED:
        return EventStatus.OPEN, "the gateway cancelled a payment that we know as captured"
    return EventStatus.SUPERSEDED, f"the payment is {payment.status}"


def _refund_transition(refund: dict[str, Any]) -> tuple[EventStatus, str]:
    refund_reference = (refund.get("metadata") or {}).get("refund_reference", "")
    row = Refund.objects.filter(refund_reference=refund_reference).first()
    if row is None and is_on_its_way_back(refund_reference):
        return EventStatus.SUPERSEDED, "late money that was given back"
    if row is None:
        return EventStatus.OPEN, "no refund with this reference"
    if row.amount != refund["amount"] or row.refund_id not in (None, refund["id"]):
        return EventStatus.OPEN, "another refund than was asked"
    came_to_nothing = refund["status"] in ("failed", "canceled")
    if came_to_nothing and row.status == Refund.Status.SUCCEEDED:
        return _taken_back(row)
    if came_to_nothing and row.status == Refund.Status.UNKNOWN:
        return EventStatus.OPEN, "the bank could not give the money back"
    if refund["status"] == "succeeded" and row.status == Refund.Status.UNKNOWN:
        # Who asked for it records it together with what it was for, such as an order that is returned.
        return EventStatus.RECEIVED, "who asked for the refund is about to record it"
    return EventStatus.SUPERSEDED, f"the refund is {row.status}"


def _taken_back(refund: Refund) -> tuple[EventStatus, str]:
    """The money came back to us, which banks tell days later: it is owed again, and the auditor misses it."""
    if Refund.objects.filter(pk=refund.pk, status=Refund.Status.SUCCEEDED).update(
        status=Refund.Status.FAILED, updated_at=Now()
    ):
        Payment.objects.filter(pk=refund.payment_id).update(
            refunded_amount=F("refunded_amount") - refund.amount, updated_at=Now()
        )
    return EventStatus.APPLIED, "the bank could not give the money back: it is owed again"


def _update(payment: Payment, **columns: Any) -> None:
    Payment.objects.filter(pk=payment.pk, status=payment.status).update(updated_at=Now(), **columns)


def _verify(body: bytes, signature: str, secrets: Iterable[str]) -> None:
    """Stripe's scheme: ``t=<seconds>,v1=<HMAC-SHA256 of "t.body">`` (https://docs.stripe.com/webhooks/signature)."""
    fields = [part.strip().partition("=") for part in signature.split(",")]
    stamps = [value for name, _, value in fields if name == "t"]
    given = [value for name, _, value in fields if name == "v1"]
    if len(stamps) != 1 or not stamps[0].isdigit() or not given:
        raise InvalidEvent("the signature header is missing or malformed")
    signed = stamps[0].encode() + b"." + body
    expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    if not any(hmac.compare_digest(mine.encode(), theirs.encode()) for mine in expected for theirs in given):
        raise InvalidEvent("the signature is not the gateway's")
    if abs(time.time() - int(stamps[0])) > TOLERANCE_SECONDS:
        raise InvalidEvent("the signature is too old, or from the future")
