"""Cancelling an order, with the real engine, bank and carrier."""

from typing import Any

import pytest
from django.core import mail

from payments import services as payments
from sagas.attempts import Call
from sagas.definition import seconds
from sagas.driver import drain_due
from sagas.engine import record, work
from sagas.models import SagaInstance
from sagas.services import guard
from shop.after_sales import ask_to_cancel
from shop.exceptions import UnknownOrder, WishRefused
from shop.models import Order, Product
from shop.services import follow_parcel
from tests.sandbox.processes import SandboxProcess
from tests.shop.books import how_it_ended, let_time_pass, nothing_moves
from tests.shop.shopping import place

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def order(mug: Product, bank: SandboxProcess, carrier: SandboxProcess) -> Order:
    """Two mugs: paid, booked, confirmed."""
    placed = place(("MUG", 2))
    drain_due(20)
    placed.refresh_from_db()
    assert placed.status == "confirmed"
    mail.outbox.clear()
    return placed


def cancellations() -> list[tuple[str, str]]:
    sagas = SagaInstance.objects.filter(definition="shop.cancel_order").order_by("id")
    return [(saga.business_key, saga.status) for saga in sagas]


def test_a_confirmed_order_is_cancelled_with_everything_given_back(
    order: Order, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    asked = ask_to_cancel(order.number, "I found it at home")

    assert (asked.definition, asked.status) == ("shop.cancel_order", "PENDING")
    drain_due(20)

    assert how_it_ended(order, bank, carrier) == "refunded"
    assert nothing_moves()
    assert order.cancel_reason == "You asked us to cancel it: “I found it at home”."
    assert [(m.to, m.subject) for m in mail.outbox] == [([order.email], f"Your order {order.number} is cancelled")]
    assert "Your money is on its way back to you: 39.98 EUR" in mail.outbox[0].body


def test_asked_twice_it_is_the_same_saga_and_nothing_is_doubled(
    order: Order, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    first, second = ask_to_cancel(order.number, "one"), ask_to_cancel(order.number, "two")
    drain_due(20)
    third = ask_to_cancel(order.number, "three")
    drain_due(20)

    assert first == second
    assert (third.saga_id, third.status) == (first.saga_id, "COMPLETED")
    assert how_it_ended(order, bank, carrier) == "refunded"
    assert cancellations() == [(order.number, "COMPLETED")]
    assert order.cancel_reason.endswith("“one”.")
    assert len(mail.outbox) == 1


def test_a_parcel_on_its_way_refuses_the_cancellation_and_the_customer_is_pointed_to_a_return(
    order: Order, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    carrier.control(move=order.number, status="in_transit")  # and its webhook is late
    ask_to_cancel(order.number)

    drain_due(20)

    assert how_it_ended(order, bank, carrier) == "bought"
    assert order.status == "confirmed"
    assert cancellations() == [(order.number, "COMPENSATED")]
    assert nothing_moves()
    [told] = mail.outbox
    assert told.subject == f"Your order {order.number} is not cancelled"
    assert "Your parcel is on its way already" in told.body
    with pytest.raises(WishRefused, match="on its way already") as refusal:
        ask_to_cancel(order.number)
    assert refusal.value.instead == "return"


def test_after_a_refused_cancellation_the_parcel_is_booked_as_before(order: Order, carrier: SandboxProcess) -> None:
    from shipping.selectors import shipment_of

    carrier.control(fault="decline", operation="refund")
    ask_to_cancel(order.number)

    drain_due(20)

    shipment = shipment_of(order.number)
    assert shipment is not None
    assert shipment.status == "BOOKED"
    assert carrier.fired() == {"decline": 1}


def test_a_carrier_that_is_away_until_the_deadline_leaves_the_order_and_it_can_be_asked_again(
    order: Order, bank: SandboxProcess, carrier: SandboxProcess, settings: Any
) -> None:
    real, settings.CARRIER_URL = settings.CARRIER_URL, "http://127.0.0.1:9"
    ask_to_cancel(order.number)
    drain_due(5)
    let_time_pass(minutes=31)
    drain_due(5)
    assert cancellations() == [(order.number, "COMPENSATED")]
    assert "We could not stop your parcel in time" in mail.outbox[0].body
    assert how_it_ended(order, bank, carrier) == "bought"

    settings.CARRIER_URL = real
    ask_to_cancel(order.number)
    drain_due(20)

    assert cancellations() == [(order.number, "COMPENSATED"), (f"{order.number}-2", "COMPLETED")]
    assert how_it_ended(order, bank, carrier) == "refunded"


@pytest.mark.parametrize("fault", ["answer_lost", "error_after", "garbage", "twice"])
def test_whatever_the_bank_does_to_the_refund_the_money_goes_back_once(
    order: Order, bank: SandboxProcess, carrier: SandboxProcess, fault: str
) -> None:
    bank.control(fault=fault, operation="refund")
    ask_to_cancel(order.number)

    drain_due(5)
    let_time_pass(minutes=1)
    drain_due(20)

    assert bank.fired() == {fault: 1}
    assert how_it_ended(order, bank, carrier) == "refunded"


@pytest.mark.parametrize("fault", ["answer_lost", "error_after", "garbage", "error", "down"])
def test_whatever_the_carrier_does_to_the_label_it_is_given_back_once(
    order: Order, bank: SandboxProcess, carrier: SandboxProcess, fault: str
) -> None:
    carrier.control(fault=fault, operation="refund")
    ask_to_cancel(order.number)

    for _ in range(3):
        drain_due(10)
        let_time_pass(minutes=1)

    assert carrier.fired() == {fault: 1}
    assert how_it_ended(order, bank, carrier) == "refunded"


@pytest.mark.parametrize("news", ["in_transit", "delivered"])
def test_a_sent_order_is_refused_and_pointed_to_a_return(order: Order, news: str) -> None:
    follow_parcel(order.number, news)

    with pytest.raises(WishRefused, match="You can return it instead") as refusal:
        ask_to_cancel(order.number)

    assert refusal.value.instead == "return"
    assert cancellations() == []
    assert nothing_moves()


def test_an_order_that_was_cancelled_for_another_reason_is_refused(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    declined = place(("MUG", 1), payment_method="pm_card_chargeDeclined")
    drain_due(20)

    with pytest.raises(WishRefused, match="cancelled before") as refusal:
        ask_to_cancel(declined.number)

    declined.refresh_from_db()
    assert refusal.value.instead == ""
    assert declined.cancel_reason == "Your bank declined the card."
    assert cancellations() == []


def test_an_order_that_is_not_there_cannot_be_cancelled(db: None) -> None:
    with pytest.raises(UnknownOrder):
        ask_to_cancel("S-2222222222")


def test_nobody_else_changes_the_order_while_it_is_cancelled(order: Order) -> None:
    from sagas.exceptions import LockTaken

    ask_to_cancel(order.number)

    with pytest.raises(LockTaken, match=r"held by shop\.cancel_order"), guard("shop.order", order.number):
        pass
    with pytest.raises(LockTaken):
        follow_parcel(order.number, "in_transit")


def test_while_no_mail_can_be_sent_an_order_can_be_cancelled(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess, settings: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    placed = place(("MUG", 2))
    drain_due(20)
    checkout = SagaInstance.objects.get(definition="shop.checkout")
    assert checkout.steps.get(name="send_confirmation").action == "WAITING"
    assert checkout.ended_at is None

    ask_to_cancel(placed.number)
    drain_due(20)

    assert how_it_ended(placed, bank, carrier) == "refunded"


def test_what_was_voided_meanwhile_is_not_taken_and_turns_the_order_back(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    order = place(("MUG", 1))
    saga = SagaInstance.objects.get()
    while not saga.steps.filter(name="book_shipment", action="SUCCEEDED").exists():
        if isinstance(done := work(saga.pk), Call):
            record(done, done.make())
    payments.void(payments.begin_void(order.number), key="somebody else", timeout=seconds(5))
    payments.record_voided(order.number)

    drain_due(20)

    assert how_it_ended(order, bank, carrier) == "untouched"
    saga.refresh_from_db()
    assert (saga.status, saga.failure["code"]) == ("COMPENSATED", "already_voided")
