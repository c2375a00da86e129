"""What the operator's room shows of the shop's own sagas: with the real steps, bank and carrier."""

import pytest
from django.core import mail

from circuit_breaker import CircuitBreaker
from payments.models import GatewayEvent
from sagas import hooks, outlook, preview
from sagas.attempts import Call
from sagas.engine import record, work
from sagas.models import SagaInstance
from shop.models import Product
from tests.sagas.rows import snapshot
from tests.sandbox.processes import SandboxProcess
from tests.shop.shopping import place

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def booked(mug: Product, bank: SandboxProcess, carrier: SandboxProcess) -> SagaInstance:
    """A checkout that would take the money next."""
    order = place(("MUG", 2))
    saga = SagaInstance.objects.get(business_key=order.number)
    while not saga.steps.filter(name="book_shipment", action="SUCCEEDED").exists():
        moved = work(saga.pk)
        assert moved is not None
        if isinstance(moved, Call):
            record(moved, moved.make())
    saga.refresh_from_db()
    return saga


def test_turning_a_checkout_back_is_shown_row_by_row_and_nobody_is_called(
    booked: SagaInstance, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    number, before = booked.business_key, snapshot(booked)
    ledgers = bank.ledger(number), carrier.ledger(number)

    found = preview.way_back(booked.pk)

    assert found.stopped == ""
    assert [(undone.compensation, undone.call.service if undone.call else "") for undone in found.undone] == [
        ("cancel_shipment", "carrier"),
        ("release_stock", ""),
        ("void_payment", "bank"),
        ("cancel_order", ""),
    ]
    changes = {
        (change.table, change.row, difference.column): (difference.before, difference.after)
        for undone in found.undone
        for change in undone.changes
        for difference in change.differences
    }
    assert changes["shipment", number, "status"] == ("BOOKED", "CANCELLED")
    assert changes["reservation", number, "status"] == ("HELD", "RELEASED")
    assert changes["stock item", "MUG", "reserved"] == ("2", "0")
    assert changes["payment", number, "status"] == ("AUTHORIZED", "VOIDED")
    assert changes["order", number, "status"] == ("pending", "cancelled")
    assert (snapshot(booked), mail.outbox) == (before, [])
    assert (bank.ledger(number), carrier.ledger(number)) == ledgers


def test_the_bank_is_asked_for_the_key_of_an_authorization(booked: SagaInstance) -> None:
    answer = outlook.ask(booked.pk, "authorize_payment")

    assert (answer.kind, answer.key) == ("HAPPENED", f"{booked.pk}:authorize_payment:action")
    assert set(answer.receipt) == set(booked.steps.get(name="authorize_payment").receipt)
    assert "pm_card" not in str(answer.request)
    assert "[secret]" in str(answer.request)


def test_an_order_is_at_stake_and_its_webhooks_are_evidence(booked: SagaInstance) -> None:
    GatewayEvent.objects.create(
        event_id="evt_1", kind="payment_intent.succeeded", payload="{}", reference=booked.business_key, note="too early"
    )
    of = booked.definition, booked.definition_version, booked.data

    stake, evidence = hooks.stake_of(*of), hooks.evidence_of(*of)

    assert stake == hooks.Stake(3998, "39.98 EUR")
    assert ("bank: payment_intent.succeeded", "to be applied too early") in [
        (told.what, told.said) for told in evidence
    ]


def test_an_open_circuit_is_told_before_a_retry(settings: object) -> None:
    settings.CIRCUIT_BREAKER_FAILURES = 1  # type: ignore[attr-defined]
    breaker = CircuitBreaker("bank")
    assert hooks.why_not_call("bank") == ""
    try:
        with pytest.raises(ConnectionError), breaker.call():
            raise ConnectionError
        assert hooks.why_not_call("bank") in [
            f"The circuit to the bank is open for {left} s more." for left in (14, 15)
        ]
    finally:
        breaker.reset()
