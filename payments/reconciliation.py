"""What the gateway and we disagree on. Reports; repairs nothing but what a stored webhook settles."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from payments.gateway import Gateway, GatewayPayment
from payments.models import Payment

PAGE_TIMEOUT = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One payment seen differently. ``ours`` and ``theirs`` say how, or that there is none."""

    reference: str
    intent_id: str
    ours: str
    theirs: str


def disagreements(gateway: Gateway, since: datetime, settled_before: datetime) -> list[Disagreement]:
    """Compare every payment of either side since ``since``, in both directions.

    Rows that changed after ``settled_before`` are left for the next run: a call may be under way.
    """
    theirs = list(gateway.payments_since(since, timeout=PAGE_TIMEOUT))
    references = {payment.reference for payment in theirs}
    ours = {row.reference: row for row in Payment.objects.filter(reference__in=references)}
    found: list[Disagreement] = []
    for payment in theirs:
        row = ours.get(payment.reference)
        if row is None or row.updated_at <= settled_before:
            found += _compare(payment, row)

    known = {payment.intent_id for payment in theirs}
    rows = Payment.objects.filter(created_at__gte=since, intent_id__isnull=False).exclude(intent_id__in=known)
    rows = rows.filter(updated_at__lte=settled_before)
    found += [Disagreement(row.reference, row.intent_id or "", _ours(row), "no such payment") for row in rows]
    return found


def _compare(theirs: GatewayPayment, ours: Payment | None) -> Iterator[Disagreement]:
    given_back = theirs.captured > 0 and theirs.captured == theirs.refunded
    no_money_there = theirs.status in ("UNKNOWN", "VOIDED", "DECLINED") or given_back
    if no_money_there and (ours is None or ours.intent_id != theirs.intent_id):
        return  # our payment is another, or none
    if given_back and ours is not None and ours.status in (Payment.Status.VOIDED, Payment.Status.DECLINED):
        return  # it was taken too late, and went back
    if ours is None:
        yield Disagreement(theirs.reference, theirs.intent_id, "no such payment", _theirs(theirs))
    elif ours.intent_id not in (None, theirs.intent_id) or _ours(ours) != _theirs(theirs):
        yield Disagreement(theirs.reference, theirs.intent_id, _ours(ours), _theirs(theirs))


def _ours(row: Payment) -> str:
    return _words(row.status, row.amount, row.captured_amount, row.refunded_amount, row.currency)


def _theirs(payment: GatewayPayment) -> str:
    return _words(payment.status, payment.amount, payment.captured, payment.refunded, payment.currency)


def _words(status: str, amount: int, captured: int, refunded: int, currency: str) -> str:
    return f"{status} {amount} {currency}, {captured} captured, {refunded} refunded"
