"""Orders that are carried out by events, in one line each."""

from typing import Any

from sagas.attempts import Call
from sagas.audit import Scope, check
from sagas.choreography.broker import carry
from sagas.choreography.models import OutboxEvent
from sagas.driver import drain_due
from sagas.engine import record, work
from sagas.models import SagaInstance
from shop.models import Order
from tests.shop.books import let_time_pass, nothing_moves
from tests.shop.shopping import place

FORWARD = [
    "shop.order_placed",
    "inventory.stock_reserved",
    "payments.payment_authorized",
    "shipping.shipment_booked",
    "payments.payment_captured",
    "inventory.stock_taken",
    "shop.order_confirmed",
]


def choreographed(**changes: Any) -> Order:
    return place(("MUG", 2), mode="choreographed", **changes)


def told(order: Order) -> list[str]:
    return list(OutboxEvent.objects.filter(subject=order.number).order_by("id").values_list("type", flat=True))


def settle(rounds: int = 12) -> None:
    """Drive everything to its end, backoffs and leases included."""
    for _ in range(rounds):
        drain_due(20)
        if nothing_moves() and not OutboxEvent.objects.filter(due_at__isnull=False).exists():
            return
        let_time_pass(minutes=2)
    raise AssertionError([(saga.definition, saga.status, saga.waiting_on) for saga in SagaInstance.objects.all()])


def one_commit() -> bool:
    """The next thing that is due, and nothing else; says whether there was any."""
    if carry():
        return True
    done = work()
    if isinstance(done, Call):
        record(done, done.make())
    return done is not None


def nothing_is_wrong() -> bool:
    assert list(check(Scope())) == []
    return True
