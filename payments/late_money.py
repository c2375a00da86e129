"""Money that the bank holds or has taken for a payment that is over: it goes back.

The event that told of it is the intent: it stays open until the money is back.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now

from payments.exceptions import AlreadyCaptured, Declined
from payments.gateway import AuthorizationRequest, Gateway, RefundRequest, VoidRequest
from payments.models import GatewayEvent

EventStatus = GatewayEvent.Status


@dataclass(frozen=True, slots=True)
class LateMoney:
    """Which money, and the event that told of it."""

    event_id: str
    reference: str
    intent_id: str
    amount: int
    currency: str
    captured: bool


def late_money(event_id: str) -> LateMoney:
    """What an event tells of. Raises `GatewayEvent.DoesNotExist` for one that tells of no money to be given back."""
    return _told_by(_events().get(event_id=event_id))


def late_money_by_event(event_ids: Iterable[str]) -> dict[str, LateMoney]:
    """The same of several events, by their ids, in one query; without those that tell of none."""
    return {event.event_id: _told_by(event) for event in _events().filter(event_id__in=list(event_ids))}


def _events() -> QuerySet[GatewayEvent]:
    return GatewayEvent.objects.filter(status__in=[EventStatus.LATE, EventStatus.APPLIED])


def _told_by(event: GatewayEvent) -> LateMoney:
    intent = json.loads(event.payload)["data"]["object"]
    captured = event.kind == "payment_intent.succeeded"
    amount = intent["amount_received"] if captured else intent["amount"]
    return LateMoney(event.event_id, event.reference, intent["id"], amount, intent["currency"].upper(), captured)


def give_back(gateway: Gateway, money: LateMoney, *, key: str, timeout: timedelta) -> None:
    """Let it go, or refund it where it was taken meanwhile. Called again with the same key it does nothing."""
    if not money.captured:
        request = AuthorizationRequest(money.reference, money.amount, money.currency, "")
        with suppress(AlreadyCaptured):
            gateway.void(VoidRequest(money.reference, key, request, money.intent_id), key=key, timeout=timeout)
            return
    refund = RefundRequest(money.event_id, money.reference, money.intent_id, money.amount, money.currency)
    try:
        gateway.refund(refund, key=key, timeout=timeout)
    except Declined as error:
        if error.code != "already_refunded":
            raise


def record_given_back(event_id: str) -> None:
    """It is back. A second call changes nothing."""
    GatewayEvent.objects.filter(event_id=event_id, status=EventStatus.LATE).update(
        status=EventStatus.APPLIED, note="given back", settled_at=Now()
    )


def is_on_its_way_back(event_id: str) -> bool:
    """Whether a refund that refers to ``event_id`` is one of late money."""
    return GatewayEvent.objects.filter(event_id=event_id).exists()
