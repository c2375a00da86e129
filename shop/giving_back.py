"""Giving an order's money and goods back: what the steps of a cancellation and of a return have in common."""

from typing import Any

from inventory import services as inventory
from money import Money
from payments import services as payments
from payments.answers import bank_answers, proof_of_payment
from sagas.definition import Context
from sagas.outcomes import CheckAnswer
from shop.selectors import order_with_lines

Ctx = Context[Any]


def refund_reference(ctx: Ctx) -> str:
    """The one refund of this saga, however often it is asked for."""
    return ctx.saga_id


def begin_refund(ctx: Ctx) -> payments.RefundRequest:
    order = order_with_lines(ctx.data.order_number)
    return payments.begin_refund(order.number, refund_reference(ctx), Money(order.total_amount, order.currency))


def refund(ctx: Ctx, request: payments.RefundRequest) -> payments.RefundReceipt:
    with bank_answers():
        return payments.refund(request, key=ctx.idempotency_key, timeout=ctx.timeout)


def find_refund(ctx: Ctx, request: payments.RefundRequest) -> CheckAnswer[payments.RefundReceipt]:
    return proof_of_payment(lambda: payments.find_refund(request, timeout=ctx.timeout))


def record_refund(ctx: Ctx, receipt: payments.RefundReceipt) -> None:
    payments.record_refunded(refund_reference(ctx), receipt)


def restock(ctx: Ctx) -> None:
    """All of the order's goods lie in the house again."""
    order = order_with_lines(ctx.data.order_number)
    lines = {line.sku: line.quantity for line in order.lines.all()}
    inventory.restock(order.number, lines, return_reference=ctx.saga_id)
