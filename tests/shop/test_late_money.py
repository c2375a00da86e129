"""Money that comes when the order is over, with the real bank: it goes back by itself."""

import hashlib
import hmac
import json
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from payments import services as payments
from payments.gateway import AuthorizationRequest, CaptureRequest
from payments.models import GatewayEvent
from sagas import hooks, operations
from sagas.audit import audit
from sagas.driver import drain_due
from sagas.models import SagaInstance
from sagas.testing import play, refused
from shop.after_sales import ask_to_cancel
from shop.late_money import GiveBack, give_late_money_back
from shop.models import Order, Product
from shop.news import apply_payment_news
from tests.sandbox.processes import SandboxProcess
from tests.shop.books import at_the_bank, let_time_pass
from tests.shop.shopping import place

pytestmark = pytest.mark.django_db(transaction=True)
SOON = timedelta(seconds=5)


@pytest.fixture
def order(mug: Product, bank: SandboxProcess, carrier: SandboxProcess) -> Order:
    """One that was cancelled before anything was asked of the bank."""
    placed = place(("MUG", 1))
    ask_to_cancel(placed.number)
    drain_due(20)
    payments.begin_void(placed.number)
    return placed


def hold(order: Order) -> payments.Authorization:
    """An authorization of which we knew nothing."""
    request = AuthorizationRequest(order.number, order.total_amount, order.currency, "pm_card_visa")
    return payments.authorize(request, key=f"late:{order.number}", timeout=SOON)


def take(order: Order) -> payments.Authorization:
    held = hold(order)
    request = CaptureRequest(order.number, held.intent_id, order.total_amount, order.currency)
    payments.capture(request, key=f"late:{order.number}", timeout=SOON)
    return held


def bank_tells(order: Order, held: payments.Authorization, *, captured: bool, event_id: str = "evt_late") -> int:
    total = order.total_amount
    intent = {
        "id": held.intent_id,
        "amount": total,
        "amount_capturable": 0 if captured else total,
        "amount_received": total if captured else 0,
        "currency": order.currency.lower(),
        "metadata": {"reference": order.number},
    }
    kind = "payment_intent.succeeded" if captured else "payment_intent.amount_capturable_updated"
    body = json.dumps({"id": event_id, "type": kind, "data": {"object": intent}}).encode()
    stamp = str(int(time.time()))
    digest = hmac.new(b"whsec_sandbox", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"Stripe-Signature": f"t={stamp},v1={digest}"}
    return (
        Client().post("/api/v1/webhooks/payments/", body, content_type="application/json", headers=headers).status_code
    )


def given_back() -> list[tuple[str, str]]:
    return list(SagaInstance.objects.filter(definition="shop.give_back").values_list("business_key", "status"))


def test_money_that_is_held_too_late_is_let_go(order: Order, bank: SandboxProcess) -> None:
    held = hold(order)
    assert at_the_bank(bank, order) == (order.total_amount, 0, 0)

    assert bank_tells(order, held, captured=False) == 204
    drain_due(20)

    assert at_the_bank(bank, order) == (0, 0, 0)
    assert given_back() == [("evt_late", "COMPLETED")]
    assert GatewayEvent.objects.get().note == "given back"
    assert audit().violations == ()


def test_money_that_was_taken_too_late_is_refunded_once(order: Order, bank: SandboxProcess) -> None:
    held = take(order)

    for _ in range(2):
        assert bank_tells(order, held, captured=True) == 204
    drain_due(20)
    bank_tells(order, held, captured=True)
    drain_due(20)

    assert at_the_bank(bank, order) == (0, order.total_amount, order.total_amount)
    assert given_back() == [("evt_late", "COMPLETED")]
    order.refresh_from_db()
    assert order.status == "cancelled"


def test_of_money_that_was_held_and_then_taken_both_events_end_in_one_refund(
    order: Order, bank: SandboxProcess
) -> None:
    held = take(order)

    bank_tells(order, held, captured=False, event_id="evt_held")
    bank_tells(order, held, captured=True, event_id="evt_taken")
    drain_due(20)

    assert at_the_bank(bank, order) == (0, order.total_amount, order.total_amount)
    assert sorted(given_back()) == [("evt_held", "COMPLETED"), ("evt_taken", "COMPLETED")]


@pytest.mark.parametrize("fault", ["answer_lost", "error_after", "error", "down", "garbage", "twice"])
def test_whatever_the_bank_does_late_money_goes_back_once(order: Order, bank: SandboxProcess, fault: str) -> None:
    held = take(order)
    bank.control(fault=fault, operation="refund")
    bank_tells(order, held, captured=True)

    for _ in range(3):
        drain_due(10)
        let_time_pass(minutes=16)

    assert bank.fired() == {fault: 1}
    assert at_the_bank(bank, order) == (0, order.total_amount, order.total_amount)
    assert given_back() == [("evt_late", "COMPLETED")]


def test_late_money_of_which_the_worker_died_is_found_by_the_next_look(order: Order, bank: SandboxProcess) -> None:
    held = hold(order)
    bank_tells(order, held, captured=False)
    SagaInstance.objects.filter(definition="shop.give_back").delete()

    apply_payment_news()
    drain_due(20)

    assert at_the_bank(bank, order) == (0, 0, 0)
    assert given_back() == [("evt_late", "COMPLETED")]


def test_whether_much_late_money_went_back_is_decided_by_two_people(
    order: Order, bank: SandboxProcess, admin_user: User, settings: Any
) -> None:
    settings.SAGAS_TWO_PEOPLE_ABOVE = order.total_amount - 1
    held = take(order)
    bank.control(fault="answer_lost", operation="refund")
    bank_tells(order, held, captured=True)
    drain_due(1)
    saga = SagaInstance.objects.get(definition="shop.give_back")
    step = saga.steps.get(action="UNKNOWN").name

    asked = operations.Request(uuid4(), admin_user, "seen at the bank", saga.version)
    done = operations.resolve(saga.pk, asked, step=step, happened=True)

    assert done.detail["proposed"] is True
    assert saga.steps.get(name=step).action == "UNKNOWN"
    assert hooks.stake_of("shop.give_back", 1, saga.data) == hooks.Stake(1999, "19.99 EUR")
    assert hooks.evidence_of("shop.give_back", 1, saga.data)[0].what == "bank: payment_intent.succeeded"


def test_late_money_that_cannot_go_back_is_for_a_person() -> None:
    refusal = play(GiveBack, {give_late_money_back: refused("refund_failed", "no")})
    turned = play(GiveBack, turn_back_after=0)

    assert (refusal.status, refusal.state.suspend_reason) == ("SUSPENDED", "NO_COMPENSATION")
    assert (turned.status, turned.trace) == ("SUSPENDED", [])
