"""The shop's world for `verify`: its database, a bank and a carrier that are processes of their own, and a mailbox.

The bank's and the carrier's own ledgers are the witnesses, and every mail that lies in the mailbox.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from importlib import import_module
from pathlib import Path
from typing import Any

from django.db import connection
from django.urls import reverse

from sagas.models import SagaInstance
from sagas.states import TERMINAL
from sagas.testing import Witness
from sagas.testing.boundaries import Saboteur
from sagas.testing.workers import Child
from shop.models import Order
from tests.sandbox.processes import SandboxProcess
from tests.shop.verify.keeping import KeptDatabase

PAID = ("confirmed", "shipped", "delivered")
GIVEN_BACK = ("submitted", "refunded")
# Of late money we know by an event only, until it is given back.
_PAYMENTS = """
    SELECT reference, status, authorized_amount, captured_amount - refunded_amount FROM payments_payment
     WHERE reference NOT IN (SELECT reference FROM payments_gatewayevent WHERE status = 'LATE')
"""
_REFERENCES = "SELECT reference FROM payments_payment"


@dataclass(frozen=True)
class Seen:
    """One moment of the world: the one order that it is about, and the books that are not ours."""

    order: Order | None
    payments: list[dict[str, Any]]
    labels: list[dict[str, Any]]
    mails: list[str]
    movements: Counter[str]
    reservation: str

    def held(self) -> int:
        return sum(row["held"] for row in self.payments)

    def captured(self) -> int:
        return sum(row["captured"] for row in self.payments)

    def refunded(self) -> int:
        return sum(row["refunded"] for row in self.payments)

    def paid_for(self, reference: str) -> list[dict[str, Any]]:
        return [row for row in self.labels if row["reference"] == reference and row["refund_status"] not in GIVEN_BACK]

    def mailed(self, step: str) -> bool:
        return f"{step}:action" in self.mails


# What is there of each step's action, by the books.
TRACES: dict[str, Callable[[Seen, Order], object]] = {
    "place_order": lambda seen, order: order.status != "cancelled",
    "reserve_stock": lambda seen, order: seen.reservation in ("HELD", "COMMITTED"),
    "authorize_payment": lambda seen, order: seen.held() or seen.captured(),
    "book_shipment": lambda seen, order: seen.paid_for(order.number),
    "capture_payment": lambda seen, order: seen.captured(),
    "confirm_order": lambda seen, order: order.status in PAID,
    "send_confirmation": lambda seen, order: seen.mailed("send_confirmation"),
    "cancel_shipment": lambda seen, order: not seen.paid_for(order.number),
    "refund_payment": lambda seen, order: seen.refunded(),
    "restock_goods": lambda seen, order: seen.movements["RETURNED"],
    "mark_cancelled": lambda seen, order: order.status == "cancelled",
    "send_cancelled": lambda seen, order: seen.mailed("send_cancelled"),
    "sort_goods": lambda seen, order: seen.movements["RETURNED"] or seen.movements["WRITTEN_OFF"],
    "send_returned": lambda seen, order: seen.mailed("send_returned"),
    "book_new_parcel": lambda seen, order: seen.paid_for(f"{order.number}-2"),
    "cancel_old_parcel": lambda seen, order: order.parcel == 2 or not seen.paid_for(order.number),
    "send_readdressed": lambda seen, order: seen.mailed("send_readdressed"),
    "give_late_money_back": lambda seen, order: not seen.held() and seen.captured() == seen.refunded(),
}


class ShopWorld:
    """The world as ``prepare`` leaves it; `rebuild` takes everything back to that moment."""

    def __init__(
        self,
        bank: SandboxProcess,
        carrier: SandboxProcess,
        mailbox: Path,
        prepare: Callable[[], object],
        steps: set[str],
    ) -> None:
        self.bank, self.carrier, self.mailbox = bank, carrier, mailbox
        self.steps = steps & TRACES.keys()
        self._strangers = {row["reference"] for row in [*bank.rows(), *carrier.rows()]}
        load_everything()
        in_a_process_of_its_own(prepare)
        self._database = KeptDatabase()
        bank.control(remember=True)
        carrier.control(remember=True)

    def rebuild(self) -> None:
        self._database.restore()
        with connection.cursor() as cursor:
            # What was due then is due now, or the engine wonders what has kept it.
            cursor.execute("UPDATE sagas_sagainstance SET wake_at = now() WHERE wake_at < now()")
        self.bank.control(go_back=True)
        self.carrier.control(go_back=True)
        for mail in self.mailbox.iterdir():
            mail.unlink()

    def witness(self) -> Witness:
        seen = self.look()
        left = {step for step in self.steps if seen.order is not None and TRACES[step](seen, seen.order)}
        return Witness(self._taken(seen), frozenset(left))

    def look(self) -> Seen:
        order = Order.objects.first()
        return Seen(
            order,
            [row for row in self.bank.rows() if row["reference"] not in self._strangers],
            [row for row in self.carrier.rows() if row["tracking_code"] and row["reference"] not in self._strangers],
            sorted(half for half, _ in self._mails()),
            Counter(word for (word,) in rows("SELECT kind FROM inventory_stockmovement")),
            "".join(word for (word,) in rows("SELECT status FROM inventory_reservation")),
        )

    def _taken(self, seen: Seen) -> Counter[str]:
        """How often something happened that must not happen twice. A copy of a mail has its Message-ID."""
        taken = Counter(half for half, _ in self._mails())
        if seen.order is None:
            return taken
        taken["authorize_payment:action"] = sum(row["confirmed"] for row in seen.payments)
        taken["capture_payment:action"] = sum(row["captured"] > 0 for row in seen.payments)
        taken["refund_payment:action"] = seen.refunded() // seen.order.total_amount
        taken["sort_goods:action"] = seen.movements["WRITTEN_OFF"]
        for step, reference in (("book_shipment", ""), ("book_new_parcel", "-2")):
            labels = [row for row in seen.labels if row["reference"] == seen.order.number + reference]
            taken[f"{step}:action"] = len(labels)
        return taken

    def _mails(self) -> set[tuple[str, str]]:
        """Each mail once: the step and side that sent it, and its Message-ID."""
        mails = set()
        for file in self.mailbox.iterdir():
            for text in file.read_bytes().split(b"-" * 79 + b"\n"):
                message_id = str(message_from_bytes(text)["Message-ID"] or "")
                if message_id:
                    _, step, side = message_id.strip("<>").partition("@")[0].split(".")[:3]
                    mails.add((f"{step}:{side}", message_id))
        return mails

    # --- what has to hold --------------------------------------------------------------------------

    def violations(self) -> Iterator[str]:
        """The bank and the carrier against our rows, and at rest against the order. The auditor has the rest."""
        seen = self.look()
        yield from _our_rows_against(seen)
        order = seen.order
        if order is None:
            for row in [*seen.payments, *seen.labels]:
                yield f"there is no order, but outside there is {row}"
        elif not SagaInstance.objects.exclude(status__in=TERMINAL).exists():
            due = order.total_amount if order.status in PAID else 0
            labels = [order.shipment_reference] if order.status in (*PAID, "returned") else []
            if seen.captured() - seen.refunded() != due:
                yield f"the order is {order.status}: the bank keeps {seen.captured() - seen.refunded()}, due are {due}"
            if seen.held():
                yield f"the order is {order.status}, and the bank still holds {seen.held()}"
            paid_for = [row["reference"] for row in seen.labels if row["refund_status"] not in GIVEN_BACK]
            if paid_for != labels:
                yield f"the order is {order.status}: labels are paid for {paid_for}, due are {labels}"


def _our_rows_against(seen: Seen) -> Iterator[str]:
    ours = {row[0]: row[1:] for row in rows(_PAYMENTS)}
    parcels = dict(rows("SELECT reference, status FROM shipping_shipment"))
    for reference in {row["reference"] for row in seen.payments} - {name for (name,) in rows(_REFERENCES)}:
        yield f"the bank has a payment for {reference}, and we have none"
    for reference in {row["reference"] for row in seen.labels} - parcels.keys():
        yield f"the carrier has a label for {reference}, and we have none"
    for reference, (status, authorized, kept) in ours.items():
        books = [row for row in seen.payments if row["reference"] == reference]
        theirs = sum(row["captured"] - row["refunded"] for row in books)
        held = sum(row["held"] for row in books)
        if theirs != kept:
            yield f"{reference}: we kept {kept} by our rows, {theirs} by the bank's"
        if held != (authorized if status == "AUTHORIZED" else 0) and status not in ("VOIDING", "UNKNOWN"):
            yield f"{reference} is {status}, and the bank holds {held}"
    for reference, status in parcels.items():
        labels = len(seen.paid_for(reference))
        if labels != (status == "BOOKED") and status not in ("CANCELLING", "UNKNOWN"):
            yield f"the parcel {reference} is {status}, and {labels} labels are paid for"


def rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def load_everything() -> None:
    """What is only loaded when it is first used, or every process that is forked would load it again."""
    reverse("admin:index")
    platform.platform()  # Stripe's library tells it with every call, and it starts a process
    for module in ("object_classes", "payment_intent", "refund", "search_result_object", "list_object", "error_object"):
        import_module(f"stripe._{module}")


def in_a_process_of_its_own(body: Callable[[], object]) -> None:
    """So that this process has no connection to bank and carrier, which a later child would inherit."""
    child = Child(lambda _: body() and None, Saboteur()).start()
    child.wait()
    assert child.broke == [], child.broke
