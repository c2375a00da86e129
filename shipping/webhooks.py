"""The carrier's webhooks: signature and age checked, stored raw once, then applied.

Tracking news may be late, doubled or out of order: a parcel's status only moves forward.
"""

import hashlib
import hmac
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from shipping.exceptions import InvalidEvent
from shipping.models import Shipment, TrackingEvent

# EasyPost signs no time of sending and retries for long: the event's own time is the age.
TOLERANCE = timedelta(days=3)
# Longer than any saga of an order waits, and than the sender repeats an event.
KEPT_OPEN = timedelta(days=30)
EventStatus = TrackingEvent.Status
_SETTLED = (EventStatus.APPLIED, EventStatus.SUPERSEDED)
_ORDER = list(Shipment.Tracking.values)

_STORE = """
    INSERT INTO shipping_trackingevent (event_id, tracking_code, tracking_status, message, payload,
                                        status, note, received_at)
    VALUES (%s, %s, %s, %s, %s, 'RECEIVED', '', clock_timestamp())
    ON CONFLICT (event_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class EventReceipt:
    """What became of an event: whether it was new, whom it is about, and where that parcel is now."""

    event_id: str
    is_new: bool
    reference: str
    tracking_status: str
    status: str


def receive_event(body: bytes, signature: str, *, secrets: Iterable[str] | None = None) -> EventReceipt:
    """Store a webhook and apply it. A repeated event changes nothing.

    ``signature`` is the header ``X-Hmac-Signature``. Raises `InvalidEvent` when no secret of the settings
    made it, or when the event is more than three days old.
    """
    _verify(body, signature, settings.CARRIER_WEBHOOK_SECRETS if secrets is None else secrets)
    try:
        event = json.loads(body)
        event_id, tracker = str(event["id"])[:100], event["result"]
        created_at = datetime.fromisoformat(event["created_at"])
        values = [
            event_id,
            str(tracker.get("tracking_code", ""))[:100],
            str(tracker.get("status", ""))[:50],
            str(tracker.get("message", ""))[:300],
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidEvent("the body is not an event") from error
    if created_at.tzinfo is None or abs(datetime.now(UTC) - created_at) > TOLERANCE:
        raise InvalidEvent("the event is too old, or from the future")

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_STORE, [*values, body.decode()])
        is_new = cursor.rowcount == 1
    _apply(event_id)  # also a repeated one: whoever stored it may have died before applying it
    return _receipt(event_id, is_new=is_new)


def apply_pending_events(limit: int = 500) -> list[EventReceipt]:
    """Apply stored events that no one finished, and try the open ones again. Returns those that were settled.

    Those that were never tried come first, then those that were not for the longest: however many stay open, each
    has its turn. Open ones are given up after `KEPT_OPEN`.
    """
    receipts = []
    pending = TrackingEvent.objects.filter(status__in=[EventStatus.RECEIVED, EventStatus.OPEN])
    for event in pending.order_by(F("tried_at").asc(nulls_first=True), "id")[:limit]:
        _apply(event.event_id)
        receipt = _receipt(event.event_id, is_new=False)
        if receipt.status in _SETTLED:
            receipts.append(receipt)
    return receipts


def keep_open(event_id: str, why: str) -> None:
    """Have an applied event told again by `apply_pending_events`: who follows it could not act on it yet."""
    TrackingEvent.objects.filter(event_id=event_id).update(status=EventStatus.OPEN, note=why[:300], settled_at=None)


def _receipt(event_id: str, *, is_new: bool) -> EventReceipt:
    stored = TrackingEvent.objects.get(event_id=event_id)
    shipment = _shipment_of(stored)
    reference, tracking_status = (shipment.reference, shipment.tracking_status) if shipment else ("", "")
    return EventReceipt(event_id, is_new, reference, tracking_status, stored.status)


@transaction.atomic
def _apply(event_id: str) -> str:
    event = TrackingEvent.objects.select_for_update().get(event_id=event_id)
    if event.status in (*_SETTLED, EventStatus.EXPIRED):
        return event.status
    status, note = _transition(event)
    if status == EventStatus.OPEN and datetime.now(UTC) - event.received_at > KEPT_OPEN:
        status, note = EventStatus.EXPIRED, f"given up after {KEPT_OPEN.days} days: {note}"
    settled_at: Any = None if status == EventStatus.OPEN else Now()
    TrackingEvent.objects.filter(pk=event.pk).update(status=status, note=note, tried_at=Now(), settled_at=settled_at)
    return status


def _transition(event: TrackingEvent) -> tuple[EventStatus, str]:
    if event.tracking_status not in _ORDER:
        return EventStatus.SUPERSEDED, "not a status we act on"
    shipment = _shipment_of(event)
    if shipment is None:
        return EventStatus.OPEN, "no shipment with this tracking code"
    earlier = ["", *_ORDER[: _ORDER.index(event.tracking_status)]]
    moved = Shipment.objects.filter(pk=shipment.pk, tracking_status__in=earlier).update(
        tracking_status=event.tracking_status, updated_at=Now()
    )
    is_latest = moved or shipment.tracking_status == event.tracking_status
    is_on_its_way = event.tracking_status != Shipment.Tracking.PRE_TRANSIT
    if is_latest and is_on_its_way and shipment.status != Shipment.Status.BOOKED:
        return EventStatus.OPEN, f"the parcel moves although the shipment is {shipment.status}"
    return (EventStatus.APPLIED, event.tracking_status) if moved else (EventStatus.SUPERSEDED, "older than we know")


def _shipment_of(event: TrackingEvent) -> Shipment | None:
    if not event.tracking_code:
        return None
    return Shipment.objects.filter(tracking_code=event.tracking_code).first()


def _verify(body: bytes, signature: str, secrets: Iterable[str]) -> None:
    """EasyPost's scheme: HMAC-SHA256 of the body (https://docs.easypost.com/guides/webhooks-guide)."""
    for secret in secrets:
        key = unicodedata.normalize("NFKD", secret).encode()
        mine = "hmac-sha256-hex=" + hmac.new(key, body, hashlib.sha256).hexdigest()
        if hmac.compare_digest(mine.encode(), signature.encode()):
            return
    raise InvalidEvent("the signature is not the carrier's")
