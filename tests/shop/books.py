"""What has to be true of an order at rest, whoever is asked: our rows, the bank's ledger, the carrier's."""

from datetime import timedelta

from django.db import connection

from inventory.selectors import available, stock_violations
from payments.selectors import money_violations, payment_of
from sagas.models import SagaInstance, SemanticLock
from sagas.states import TERMINAL
from shop.models import Order
from tests.sandbox.processes import SandboxProcess

STOCK = 10


def let_time_pass(**amount: int) -> None:
    """Move all that the sagas have stored about time into the past."""
    with connection.cursor() as cursor:
        for table, columns in {
            "sagainstance": ("wake_at", "deadline_at", "blocked_until"),
            "sagastep": ("due_at",),
        }.items():
            for column in columns:
                cursor.execute(f"UPDATE sagas_{table} SET {column} = {column} - %s", [timedelta(**amount)])


def nothing_moves() -> bool:
    return not SagaInstance.objects.exclude(status__in=TERMINAL).exists() and not SemanticLock.objects.exists()


def at_the_bank(bank: SandboxProcess, order: Order) -> tuple[int, int, int]:
    """What the bank itself believes: held, captured, refunded."""
    rows = bank.ledger(order.number)
    held, captured, refunded = (sum(row[name] for row in rows) for name in ("held", "captured", "refunded"))
    return held, captured, refunded


def at_the_carrier(carrier: SandboxProcess, order: Order) -> list[bool]:
    """For each label that was bought for the order: whether it was given back."""
    return [bool(row["refund_status"]) for row in carrier.ledger(order.number) if row["tracking_code"]]


def how_it_ended(order: Order, bank: SandboxProcess, carrier: SandboxProcess, *, sku: str = "MUG") -> str:
    """One of: untouched, refunded, bought, returned; anything in between is an error."""
    order.refresh_from_db()
    assert stock_violations() == []
    assert money_violations() == []
    payment = payment_of(order.number)
    ours = (payment.captured, payment.refunded) if payment else (0, 0)
    held, *theirs = at_the_bank(bank, order)
    assert (held, *theirs) == (0, *ours)
    labels, left = at_the_carrier(carrier, order), available([sku])[sku]
    bought = sum(line.quantity for line in order.lines.all())
    total = order.total_amount
    match order.status, *ours:
        case "cancelled", 0, 0:
            assert (all(labels), left) == (True, STOCK)
            return "untouched"
        case "cancelled", captured, refunded if captured == refunded == total:
            assert (labels, left) == ([True], STOCK)
            return "refunded"
        case "confirmed" | "shipped" | "delivered", captured, 0 if captured == total:
            assert (labels, left) == ([False], STOCK - bought)
            return "bought"
        case "returned", captured, refunded if captured == refunded == total:
            return "returned"
    raise AssertionError(f"{order.status} with {ours} captured and refunded, labels given back: {labels}, {left} left")
