"""What is verified: every plan of the shop, in each variant that has boundaries of its own.

A scenario is prepared once and started in each case. A start may be repeated, as by a client that got no
answer: whatever it does it can do twice.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from payments import services as payments
from payments.gateway import AuthorizationRequest, CaptureRequest
from sagas.attempts import Call
from sagas.definition import Saga
from sagas.engine import record, work
from sagas.models import SagaInstance
from sagas.testing.disturbances import NAMES
from sagas.testing.workers import drive
from shipping import services as shipping
from shipping.selectors import shipment_of
from shop.after_sales import ask_to_cancel, ask_to_readdress, ask_to_return, inspect_return, receive_return
from shop.cancellation import CancelOrder
from shop.checkout import Checkout
from shop.choreographed_checkout import ChoreographedCheckout
from shop.exceptions import CartAlreadyOrdered, WishRefused
from shop.late_money import GiveBack
from shop.models import Cart, Category, Order
from shop.news import follow_payment, follow_shipment
from shop.readdressing import ChangeAddress
from shop.returning import ReturnOrder
from shop.services import follow_parcel, place_order
from tests.shop.shopping import ADDRESS, add_product

ELSEWHERE = replace(ADDRESS, line1="12 St James's Square", city="Dublin", postal_code="D02", country="IE")
BOTH = ("forward", "back")
SOON = timedelta(seconds=5)


@dataclass(frozen=True)
class Scenario:
    """``share`` is the part of its cases that is run when not all are."""

    name: str
    saga: type[Saga[Any]]
    prepare: Callable[[], object]
    start: Callable[[], object]
    ways: tuple[str, ...] = ("forward",)
    share: float = 0.05
    disturbances: tuple[str, ...] = NAMES


# Behind another saga: a checkout that is refused after its pivot waits for a person, and with it all in its line.
IN_LINE = tuple(name for name in NAMES if name != "refused")


def number() -> str:
    return Order.objects.get().number


# --- checkout -------------------------------------------------------------------------------------


def fill_cart() -> Cart:
    add_product("MUG", stock=10, price=1999, category=Category.objects.create(name="Kitchen", slug="kitchen"))
    return Cart.objects.create()


def order_with(card: str, mode: str = "orchestrated") -> Callable[[], None]:
    def place() -> None:
        """A second submit of the same cart finds the first order."""
        with suppress(CartAlreadyOrdered):
            place_order(
                email="ada@example.org",
                lines=[("MUG", 3)],
                address=ADDRESS,
                payment_method=card,
                mode=mode,
                cart=Cart.objects.get(),
            )

    return place


order = order_with("pm_card_visa")
order_by_events = order_with("pm_card_visa", "choreographed")

# --- orders to start from -----------------------------------------------------------------------------


def confirmed() -> None:
    fill_cart()
    order()
    drive()


def captured() -> None:
    """The checkout is past its pivot, and goes on."""
    fill_cart()
    order()
    while not SagaInstance.objects.get().pivot_passed:
        done = work()
        if isinstance(done, Call):
            record(done, done.make())


def delivered() -> None:
    confirmed()
    follow_parcel(number(), "delivered")


# --- what is asked for --------------------------------------------------------------------------------


def persistently(ask: Callable[[], object]) -> None:
    """As somebody does whose request was frozen until PostgreSQL ended its session."""
    try:
        ask()
    except (DatabaseError, InterfaceError):
        connection.close()
        ask()


def cancel() -> None:
    persistently(lambda: ask_to_cancel(number(), "I found it at home"))


def readdress() -> None:
    persistently(lambda: ask_to_readdress(number(), ELSEWHERE))


def return_by_staff() -> None:
    """Each is told when the saga waits for it."""
    ask_to_return(number())
    drive()
    with suppress(WishRefused):
        receive_return(number(), by="grace")
        drive()
        inspect_return(number(), accepted=True, by="grace", broken={"MUG": 1})


def return_by_webhook() -> None:
    """All is told before the saga has looked."""
    ask_to_return(number())
    follow_shipment(shipping.receive_event(*parcel_comes_back()))
    with suppress(WishRefused):
        inspect_return(number(), accepted=True, by="grace")


def return_not_accepted() -> None:
    ask_to_return(number())
    with suppress(WishRefused):
        receive_return(number(), by="grace")
        inspect_return(number(), accepted=False, by="grace", reason="worn")


def return_without_parcel() -> None:
    ask_to_return(number())


def parcel_comes_back() -> tuple[bytes, str]:
    """The carrier's webhook, signed as the carrier signs."""
    parcel = shipment_of(number())
    assert parcel is not None
    event = {
        "id": "evt_back",
        "created_at": datetime.now(UTC).isoformat(),
        "result": {"tracking_code": parcel.tracking_code, "status": "return_to_sender"},
    }
    body = json.dumps(event).encode()
    [secret] = settings.CARRIER_WEBHOOK_SECRETS
    return body, "hmac-sha256-hex=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


# --- late money ---------------------------------------------------------------------------------------


def cancelled_with_late_money(*, captured: bool) -> Callable[[], None]:
    """An authorization of which we knew nothing, for an order that was cancelled at once."""

    def prepare() -> None:
        fill_cart()
        order()
        ask_to_cancel(number())
        drive()
        payments.begin_void(number())
        request = AuthorizationRequest(number(), Order.objects.get().total_amount, "EUR", "pm_card_visa")
        held = payments.authorize(request, key=number(), timeout=SOON)
        if captured:
            payments.capture(CaptureRequest(number(), held.intent_id, held.amount, "EUR"), key=number(), timeout=SOON)

    return prepare


def bank_tells(*, captured: bool) -> Callable[[], None]:
    def tell() -> None:
        """The bank's webhook, about what it holds or has taken by its own ledger."""
        ledger = requests.get(f"{settings.BANK_URL}/_ledger", timeout=30).json()["payments"]
        [theirs] = [row for row in ledger if row["reference"] == number()]
        intent = {
            "id": theirs["intent_id"],
            "amount": theirs["amount"],
            "amount_capturable": 0 if captured else theirs["amount"],
            "amount_received": theirs["amount"] if captured else 0,
            "currency": "eur",
            "metadata": {"reference": number()},
        }
        kind = "payment_intent.succeeded" if captured else "payment_intent.amount_capturable_updated"
        body = json.dumps({"id": "evt_late", "type": kind, "data": {"object": intent}}).encode()
        [secret] = settings.BANK_WEBHOOK_SECRETS
        stamp = str(int(time.time()))
        digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        follow_payment(payments.receive_event(body, f"t={stamp},v1={digest}"))

    return tell


# Nobody turns it back, so nothing that does is tried; what answers the bank and the carrier give, the others see to.
BY_EVENTS = Scenario(
    "checkout, by events",
    ChoreographedCheckout,
    fill_cart,
    order_by_events,
    share=0.02,
    disturbances=(
        "kill",
        "pause",
        "double",
        "commit failed",
        "commit unanswered",
        "hint lost",
        "not done, lost",
        "done, lost",
        "transient",
    ),
)
SCENARIOS = (
    Scenario("checkout", Checkout, fill_cart, order, BOTH),
    Scenario("checkout, card declined", Checkout, fill_cart, order_with("pm_card_chargeDeclined")),
    Scenario("cancel", CancelOrder, confirmed, cancel, BOTH),
    Scenario("cancel, in line", CancelOrder, captured, cancel, share=0.03, disturbances=IN_LINE),
    Scenario("return, by staff", ReturnOrder, delivered, return_by_staff, BOTH),
    Scenario("return, by webhook", ReturnOrder, delivered, return_by_webhook),
    Scenario("return, not accepted", ReturnOrder, delivered, return_not_accepted),
    Scenario("return, no parcel", ReturnOrder, delivered, return_without_parcel),
    Scenario("change of address", ChangeAddress, confirmed, readdress, BOTH),
    Scenario("change of address, in line", ChangeAddress, captured, readdress, share=0.03, disturbances=IN_LINE),
    Scenario(
        "late money, held",
        GiveBack,
        cancelled_with_late_money(captured=False),
        bank_tells(captured=False),
    ),
    Scenario(
        "late money, taken",
        GiveBack,
        cancelled_with_late_money(captured=True),
        bank_tells(captured=True),
    ),
)
