"""What payments tells: the state of one payment, and whether the money adds up."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from payments.models import GatewayEvent, Payment


@dataclass(frozen=True, slots=True)
class PaymentView:
    """A payment to be shown. Amounts in minor units; the decline message is in the shopper's words."""

    reference: str
    status: str
    amount: int
    currency: str
    captured: int
    refunded: int
    decline_code: str
    decline_message: str


@dataclass(frozen=True, slots=True)
class MoneyViolation:
    """A money invariant that does not hold: which, for what, and the two figures that disagree."""

    rule: str
    subject: str
    found: int
    expected: int


# Each query returns subject, found, expected for the rows that break its rule (SEMANTICS 11, money).
_RULES = {
    "refunded is the sum of the succeeded refunds": """
        SELECT payment.reference, payment.refunded_amount, coalesce(sum(refund.amount), 0)
          FROM payments_payment payment
          LEFT JOIN payments_refund refund ON refund.payment_id = payment.id AND refund.status = 'SUCCEEDED'
         GROUP BY payment.id HAVING payment.refunded_amount <> coalesce(sum(refund.amount), 0)
    """,
    "refunds begun stay within what was captured": """
        SELECT payment.reference, sum(refund.amount), payment.captured_amount
          FROM payments_payment payment
          JOIN payments_refund refund ON refund.payment_id = payment.id AND refund.status <> 'FAILED'
         GROUP BY payment.id HAVING sum(refund.amount) > payment.captured_amount
    """,
    "all of the amount was captured": """
        SELECT reference, captured_amount, amount FROM payments_payment
         WHERE status = 'CAPTURED' AND captured_amount <> amount
    """,
}


def payment_of(reference: str) -> PaymentView | None:
    """The payment of an order, or None before there is one."""
    payment = Payment.objects.filter(reference=reference).first()
    if payment is None:
        return None
    return PaymentView(
        reference=payment.reference,
        status=payment.status,
        amount=payment.amount,
        currency=payment.currency,
        captured=payment.captured_amount,
        refunded=payment.refunded_amount,
        decline_code=payment.decline_code,
        decline_message=payment.decline_message,
    )


@dataclass(frozen=True, slots=True)
class GatewayEventView:
    """What the bank told us by webhook, and what was made of it."""

    kind: str
    status: str
    note: str
    received_at: datetime


def gateway_events_of(reference: str, most: int = 20) -> list[GatewayEventView]:
    """What the bank told of a payment, the latest first."""
    found = GatewayEvent.objects.filter(reference=reference).exclude(reference="").order_by("-id")[:most]
    return [GatewayEventView(event.kind, event.get_status_display(), event.note, event.received_at) for event in found]


def money_violations() -> list[MoneyViolation]:
    """Every row that breaks a money invariant; empty when the books balance."""
    violations = []
    with connection.cursor() as cursor:
        for rule, query in _RULES.items():
            cursor.execute(query)
            violations += [MoneyViolation(rule, *row) for row in cursor.fetchall()]
    return violations
