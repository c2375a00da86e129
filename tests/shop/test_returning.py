"""Returning an order, with the real engine and bank."""

from typing import Any

import pytest
from django.core import mail

from inventory.models import StockMovement
from inventory.selectors import available
from sagas.driver import drain_due
from sagas.models import SagaInstance, SemanticLock, Signal
from sagas.selectors import waiting_words
from sagas.services import guard
from shop.after_sales import (
    ask_to_cancel,
    ask_to_return,
    inspect_return,
    parcel_came_back,
    receive_return,
)
from shop.exceptions import InspectionMismatch, UnknownOrder, WishRefused
from shop.models import Order, Product
from shop.services import follow_parcel
from tests.racing import race
from tests.sandbox.processes import SandboxProcess
from tests.shop.books import how_it_ended, let_time_pass, nothing_moves
from tests.shop.shopping import place

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def confirmed(mug: Product, bank: SandboxProcess, carrier: SandboxProcess) -> Order:
    placed = place(("MUG", 3))
    drain_due(20)
    mail.outbox.clear()
    return placed


@pytest.fixture
def order(confirmed: Order) -> Order:
    """Three mugs that have arrived."""
    follow_parcel(confirmed.number, "delivered")
    return confirmed


def returns() -> list[tuple[str, str]]:
    sagas = SagaInstance.objects.filter(definition="shop.return").order_by("id")
    return [(saga.business_key, saga.status) for saga in sagas]


def waits() -> str:
    return waiting_words(SagaInstance.objects.filter(definition="shop.return").latest("id"))


def ledger(*kinds: str) -> list[tuple[str, int]]:
    return list(StockMovement.objects.filter(kind__in=kinds).order_by("id").values_list("kind", "delta"))


def test_news_of_a_parcel_that_no_longer_carries_the_order_is_not_believed(order: Order) -> None:
    Order.objects.filter(pk=order.pk).update(parcel=2)
    ask_to_return(order.number)
    drain_due(5)

    assert not parcel_came_back(order.number, told_by="carrier")
    drain_due(5)
    assert waits().startswith("Waits for parcel_back, until ")

    assert parcel_came_back(f"{order.number}-2", told_by="carrier")
    drain_due(5)
    assert waits().startswith("Waits for a person: inspect_goods, due ")


def test_a_return_waits_for_the_parcel_and_the_verdict_and_then_gives_back_money_and_goods(
    order: Order, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    ask_to_return(order.number, "too heavy")
    drain_due(5)
    assert waits().startswith("Waits for parcel_back, until ")

    receive_return(order.number, by="grace")
    drain_due(5)
    assert waits().startswith("Waits for a person: inspect_goods, due ")
    assert how_it_ended(order, bank, carrier) == "bought"

    inspect_return(order.number, accepted=True, by="grace", broken={"MUG": 1})
    drain_due(20)

    assert how_it_ended(order, bank, carrier) == "returned"
    assert nothing_moves()
    assert available(["MUG"]) == {"MUG": 9}
    assert ledger("RETURNED", "WRITTEN_OFF") == [("RETURNED", 3), ("WRITTEN_OFF", -1)]
    assert [m.subject for m in mail.outbox] == [f"Your return of order {order.number} is complete"]


def test_an_order_in_a_return_is_free_for_the_carriers_news(confirmed: Order) -> None:
    follow_parcel(confirmed.number, "in_transit")
    ask_to_return(confirmed.number)
    drain_due(5)

    follow_parcel(confirmed.number, "delivered")

    confirmed.refresh_from_db()
    assert confirmed.status == "delivered"
    assert list(SemanticLock.objects.values_list("resource_type", "resource_id")) == [("shop.return", confirmed.number)]
    with guard("shop.order", confirmed.number):
        pass


def test_asked_twice_it_is_one_return(order: Order) -> None:
    results = race([lambda: ask_to_return(order.number)] * 4)
    drain_due(5)

    assert len({result.saga_id for result in results}) == 1
    assert ask_to_return(order.number).saga_id == results[0].saga_id
    assert returns() == [(order.number, "WAITING")]


def test_a_parcel_that_does_not_come_in_14_days_leaves_the_order_and_it_can_be_asked_again(
    order: Order, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    ask_to_return(order.number)
    drain_due(5)
    let_time_pass(days=13, hours=23)
    drain_due(5)
    assert returns() == [(order.number, "WAITING")]

    let_time_pass(hours=2)
    drain_due(5)

    assert returns() == [(order.number, "COMPENSATED")]
    assert how_it_ended(order, bank, carrier) == "bought"
    assert order.status == "delivered"
    assert "did not come back to us in time" in mail.outbox[0].body
    ask_to_return(order.number)
    receive_return(order.number, by="grace")
    inspect_return(order.number, accepted=True, by="grace")
    drain_due(20)
    assert returns() == [(order.number, "COMPENSATED"), (f"{order.number}-2", "COMPLETED")]
    assert how_it_ended(order, bank, carrier) == "returned"


def test_goods_that_are_not_accepted_leave_the_order_and_the_customer_is_told_why(
    order: Order, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    ask_to_return(order.number)
    receive_return(order.number, by="grace")
    inspect_return(order.number, accepted=False, by="grace", reason="All three were used for a year.")

    drain_due(20)

    assert how_it_ended(order, bank, carrier) == "bought"
    assert order.status == "delivered"
    assert ledger("RETURNED", "WRITTEN_OFF") == []
    assert mail.outbox[0].body.startswith(
        "We looked at what you sent back and cannot take it: All three were used for a year."
    )
    with pytest.raises(WishRefused, match="used for a year"):
        ask_to_return(order.number)
    assert returns() == [(order.number, "COMPENSATED")]


def test_a_person_who_takes_more_than_three_days_raises_attention(order: Order) -> None:
    ask_to_return(order.number)
    receive_return(order.number, by="grace")
    drain_due(5)
    let_time_pass(days=3, hours=1)
    drain_due(5)

    assert SagaInstance.objects.get(definition="shop.return").attention == "inspect_goods is overdue"


def test_the_carrier_and_a_person_who_tell_the_same_are_heard_once(order: Order) -> None:
    ask_to_return(order.number)

    assert parcel_came_back(order.number, told_by="carrier")
    assert not parcel_came_back(order.number, told_by="carrier")
    receive_return(order.number, by="grace")
    drain_due(5)

    assert Signal.objects.count() == 1
    assert waits().startswith("Waits for a person")


def test_a_parcel_that_is_back_before_anybody_asked_is_known_when_they_do(order: Order) -> None:
    assert parcel_came_back(order.number, told_by="carrier")

    ask_to_return(order.number)
    drain_due(5)

    assert waits().startswith("Waits for a person")


def test_a_parcel_that_comes_too_late_is_for_a_person(order: Order) -> None:
    ask_to_return(order.number)
    drain_due(5)
    let_time_pass(days=15)
    drain_due(5)

    assert parcel_came_back(order.number, told_by="carrier")

    saga = SagaInstance.objects.get(definition="shop.return")
    assert (saga.status, saga.attention) == ("COMPENSATED", "the signal parcel_back came after the end")
    with pytest.raises(WishRefused, match="has ended"):
        receive_return(order.number, by="grace")


def test_the_first_verdict_stands(order: Order, bank: SandboxProcess, carrier: SandboxProcess) -> None:
    ask_to_return(order.number)
    inspect_return(order.number, accepted=True, by="grace")

    with pytest.raises(WishRefused, match="inspected before"):
        inspect_return(order.number, accepted=False, by="joan", reason="no")
    receive_return(order.number, by="joan")
    drain_due(20)

    assert how_it_ended(order, bank, carrier) == "returned"


@pytest.mark.parametrize(
    ("broken", "words"),
    [({"MUG": 4}, "At most 3 of “MUG”"), ({"MUG": 0}, "At most 3"), ({"KETTLE": 1}, "“KETTLE” is not in this order")],
)
def test_nobody_finds_more_broken_than_was_bought(order: Order, broken: dict[str, int], words: str) -> None:
    ask_to_return(order.number)

    with pytest.raises(InspectionMismatch, match=words):
        inspect_return(order.number, accepted=True, by="grace", broken=broken)

    assert not Signal.objects.exists()


@pytest.mark.parametrize("tell", [receive_return, lambda number, by: inspect_return(number, accepted=True, by=by)])
def test_nothing_can_be_told_of_a_return_that_nobody_asked_for(order: Order, tell: Any) -> None:
    with pytest.raises(WishRefused, match="Nobody asked to return this order"):
        tell(order.number, by="grace")

    assert not Signal.objects.exists()


def test_an_order_that_was_not_sent_is_pointed_to_a_cancellation(confirmed: Order) -> None:
    with pytest.raises(WishRefused, match="You can cancel the order instead") as refusal:
        ask_to_return(confirmed.number)

    assert refusal.value.instead == "cancel"
    assert returns() == []
    assert nothing_moves()


def test_a_cancelled_order_cannot_be_returned(confirmed: Order) -> None:
    ask_to_cancel(confirmed.number)
    drain_due(20)

    with pytest.raises(WishRefused, match="The order was cancelled") as refusal:
        ask_to_return(confirmed.number)

    assert refusal.value.instead == ""
    assert returns() == []


def test_a_returned_order_stays_returned(order: Order, bank: SandboxProcess, carrier: SandboxProcess) -> None:
    asked = ask_to_return(order.number)
    receive_return(order.number, by="grace")
    inspect_return(order.number, accepted=True, by="grace")
    drain_due(20)

    follow_parcel(order.number, "delivered")
    with pytest.raises(WishRefused, match="returned before"):
        ask_to_cancel(order.number)

    again = ask_to_return(order.number)
    assert (again.saga_id, again.status) == (asked.saga_id, "COMPLETED")
    assert how_it_ended(order, bank, carrier) == "returned"


@pytest.mark.parametrize("fault", ["answer_lost", "error_after", "garbage", "twice", "error", "down"])
def test_whatever_the_bank_does_to_the_refund_the_money_goes_back_once(
    order: Order, bank: SandboxProcess, carrier: SandboxProcess, fault: str
) -> None:
    bank.control(fault=fault, operation="refund")
    ask_to_return(order.number)
    receive_return(order.number, by="grace")
    inspect_return(order.number, accepted=True, by="grace")

    for _ in range(3):
        drain_due(10)
        let_time_pass(minutes=16)

    assert bank.fired() == {fault: 1}
    assert how_it_ended(order, bank, carrier) == "returned"


def test_an_order_that_is_not_there_cannot_be_returned(db: None) -> None:
    with pytest.raises(UnknownOrder):
        ask_to_return("S-2222222222")
