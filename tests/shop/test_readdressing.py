"""Changing the address of an order, with the real engine and carrier."""

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from rest_framework.test import APIClient

from sagas.audit import audit
from sagas.driver import drain_due
from sagas.engine import work
from sagas.models import SagaInstance
from sagas.services import turn_back
from shop.after_sales import ask_to_cancel, ask_to_readdress
from shop.exceptions import UnknownOrder, WishRefused
from shop.models import AddressWish, Order, Product
from shop.progress import progress_of
from shop.readdressing import ChangeAddress
from shop.services import follow_parcel
from tests.racing import race
from tests.sandbox.processes import SandboxProcess
from tests.shop.books import at_the_bank, at_the_carrier, let_time_pass, nothing_moves
from tests.shop.shopping import ADDRESS, place

pytestmark = pytest.mark.django_db(transaction=True)

DUBLIN = replace(
    ADDRESS, line1="12 St James's Square", line2="2nd floor", city="Dublin", postal_code="D02", country="IE"
)
NOWHERE = replace(DUBLIN, postal_code="00000")


@pytest.fixture
def order(mug: Product, ada: User, bank: SandboxProcess, carrier: SandboxProcess) -> Order:
    placed = place(("MUG", 2), user=ada)
    drain_due(20)
    placed.refresh_from_db()
    mail.outbox.clear()
    return placed


def changes() -> list[tuple[str, str]]:
    sagas = SagaInstance.objects.filter(definition="shop.change_address").order_by("id")
    return [(saga.business_key, saga.status) for saga in sagas]


def parcels(carrier: SandboxProcess, order: Order) -> list[list[bool]]:
    """Of the first parcel and of the second: for each label that was bought, whether it was given back."""
    return [at_the_carrier(carrier, Order(number=number)) for number in (order.number, f"{order.number}-2")]


def goes_to(order: Order) -> tuple[str, str, int]:
    order.refresh_from_db()
    return order.status, order.ship_city, order.parcel


def test_another_parcel_goes_to_the_new_address_and_the_first_is_given_back(
    order: Order, carrier: SandboxProcess
) -> None:
    ask_to_readdress(order.number, DUBLIN)
    drain_due(20)

    assert audit().violations == ()
    assert goes_to(order) == ("confirmed", "Dublin", 2)
    assert (order.ship_line2, order.ship_country) == ("2nd floor", "IE")
    assert parcels(carrier, order) == [[True], [False]]
    assert nothing_moves()
    [told] = mail.outbox
    assert told.subject == f"Your order {order.number} has another address"
    assert "12 St James's Square\n2nd floor\nD02 Dublin\nIE" in told.body


def test_the_order_follows_its_new_parcel_and_not_the_old_one(order: Order) -> None:
    ask_to_readdress(order.number, DUBLIN)
    drain_due(20)

    follow_parcel(order.number, "delivered")
    assert goes_to(order)[0] == "confirmed"
    follow_parcel(f"{order.number}-2", "in_transit")
    assert goes_to(order)[0] == "shipped"


def test_the_same_address_is_asked_for_once_and_a_third_one_has_to_wait(order: Order) -> None:
    first = ask_to_readdress(order.number, DUBLIN)

    assert ask_to_readdress(order.number, DUBLIN) == first
    with pytest.raises(WishRefused, match="Another change of the address is under way"):
        ask_to_readdress(order.number, replace(DUBLIN, city="Cork"))
    drain_due(20)
    assert ask_to_readdress(order.number, DUBLIN).saga_id == first.saga_id
    ask_to_readdress(order.number, replace(DUBLIN, city="Cork"))
    drain_due(20)

    assert goes_to(order) == ("confirmed", "Cork", 3)
    assert changes() == [(order.number, "COMPLETED"), (f"{order.number}-2", "COMPLETED")]


def test_of_two_who_ask_for_different_addresses_at_once_one_is_told_that_it_has_to_wait(order: Order) -> None:
    elsewhere = replace(DUBLIN, line1="1 Abbey Street")

    results = race([lambda: ask_to_readdress(order.number, DUBLIN), lambda: ask_to_readdress(order.number, elsewhere)])

    assert sorted(type(result).__name__ for result in results) == ["Asked", "WishRefused"]
    assert AddressWish.objects.count() == 1


def test_after_the_purge_another_change_takes_another_parcel(order: Order, carrier: SandboxProcess) -> None:
    ask_to_readdress(order.number, DUBLIN)
    drain_due(20)
    SagaInstance.objects.filter(definition="shop.change_address").delete()

    ask_to_readdress(order.number, ADDRESS)
    drain_due(20)

    assert goes_to(order) == ("confirmed", ADDRESS.city, 3)
    assert parcels(carrier, order) == [[True], [True]]
    assert at_the_carrier(carrier, Order(number=f"{order.number}-3")) == [False]
    assert audit().violations == ()


def test_an_address_nobody_delivers_to_changes_nothing(order: Order, carrier: SandboxProcess) -> None:
    ask_to_readdress(order.number, NOWHERE)
    drain_due(20)

    assert goes_to(order) == ("confirmed", "Berlin", 1)
    assert parcels(carrier, order) == [[False], []]
    assert "does not deliver to that address" in mail.outbox[0].body
    assert "does not deliver to that address" in progress_of(order).note


def test_a_parcel_on_its_way_keeps_its_address_and_the_new_label_is_given_back(
    order: Order, carrier: SandboxProcess
) -> None:
    carrier.control(move=order.number, status="in_transit")
    ask_to_readdress(order.number, DUBLIN)
    drain_due(20)

    assert goes_to(order) == ("confirmed", "Berlin", 1)
    assert parcels(carrier, order) == [[False], [True]]
    assert audit().violations == ()
    assert "on its way already" in mail.outbox[0].body
    follow_parcel(order.number, "in_transit")
    assert goes_to(order)[0] == "shipped"


def test_a_change_that_turns_back_while_the_carrier_is_down_leaves_no_parcel_open(
    order: Order, carrier: SandboxProcess
) -> None:
    carrier.control(fault="down", times=-1)
    ask_to_readdress(order.number, DUBLIN)
    drain_due(5)

    assert turn_back(ChangeAddress, order.number, why="the customer changed their mind")
    drain_due(20)

    assert changes() == [(order.number, "COMPENSATED")]
    assert audit().violations == ()
    assert goes_to(order) == ("confirmed", "Berlin", 1)


@pytest.mark.parametrize("operation", ["buy", "refund"])
@pytest.mark.parametrize("fault", ["answer_lost", "error_after", "garbage", "error", "down"])
def test_whatever_the_carrier_does_there_is_one_parcel_in_the_end(
    order: Order, carrier: SandboxProcess, fault: str, operation: str
) -> None:
    carrier.control(fault=fault, operation=operation)
    ask_to_readdress(order.number, DUBLIN)

    for _ in range(3):
        drain_due(10)
        let_time_pass(minutes=1)

    assert carrier.fired() == {fault: 1}
    assert goes_to(order) == ("confirmed", "Dublin", 2)
    assert parcels(carrier, order) == [[True], [False]]


def test_during_the_checkout_it_waits_in_line_and_then_begins(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    pending = place(("MUG", 2))
    asked = ask_to_readdress(pending.number, DUBLIN)
    assert asked.status == "WAITING"
    assert progress_of(pending).headline == "We are about to change the address"

    drain_due(20)

    assert goes_to(pending) == ("confirmed", "Dublin", 2)
    assert nothing_moves()


def test_a_checkout_that_comes_to_nothing_ends_it_cleanly(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    declined = place(("MUG", 2), payment_method="pm_card_chargeDeclined")
    ask_to_readdress(declined.number, DUBLIN)

    drain_due(20)

    assert changes() == [(declined.number, "COMPENSATED")]
    assert goes_to(declined) == ("cancelled", "Berlin", 1)
    assert mail.outbox[-1].body.startswith("The order was cancelled.")
    assert nothing_moves()


@pytest.mark.parametrize("moves", range(5))
def test_a_cancel_at_any_moment_waits_and_then_gives_everything_back(
    order: Order, bank: SandboxProcess, carrier: SandboxProcess, moves: int
) -> None:
    change = SagaInstance.objects.get(pk=ask_to_readdress(order.number, DUBLIN).saga_id)
    for _ in range(moves):
        done = work(change.pk)
        if hasattr(done, "make"):
            break  # its worker dies with the call
        assert audit().violations == ()

    ask_to_cancel(order.number)
    for _ in range(3):
        drain_due(20)
        let_time_pass(minutes=1)

    assert goes_to(order)[0] == "cancelled"
    assert [label for labels in parcels(carrier, order) for label in labels] == [True, True]
    assert at_the_bank(bank, order) == (0, 3998, 3998)
    assert audit().violations == ()
    assert nothing_moves()


def test_an_order_that_is_being_cancelled_or_was_sent_keeps_its_address(order: Order) -> None:
    ask_to_cancel(order.number)
    with pytest.raises(WishRefused, match="is being cancelled"):
        ask_to_readdress(order.number, DUBLIN)
    drain_due(20)
    with pytest.raises(WishRefused, match="was cancelled"):
        ask_to_readdress(order.number, DUBLIN)

    assert changes() == []
    assert not AddressWish.objects.exists()


@pytest.mark.parametrize("news", ["in_transit", "delivered"])
def test_a_sent_order_keeps_its_address(order: Order, news: str) -> None:
    follow_parcel(order.number, news)

    with pytest.raises(WishRefused, match="can no longer be changed"):
        ask_to_readdress(order.number, DUBLIN)

    assert changes() == []


def test_an_order_that_is_not_there_has_no_address(db: None) -> None:
    with pytest.raises(UnknownOrder):
        ask_to_readdress("S-2222222222", DUBLIN)


FORM = {
    "name": "Ada",
    "line1": "12 St James's Square",
    "line2": "",
    "city": "Dublin",
    "postal_code": "D02",
    "country": "IE",
}


def test_a_shopper_changes_the_address_on_the_orders_page(as_ada: Client, order: Order) -> None:
    page = f"/orders/{order.number}/address/"
    assert page in as_ada.get(order.get_absolute_url()).text
    assert as_ada.get(page).context["form"].initial["city"] == "Berlin"

    assert as_ada.post(page, {**FORM, "country": "XX"}).status_code == 422
    assert changes() == []
    followed = as_ada.post(page, FORM, follow=True)

    assert "We are changing the address" in followed.text
    drain_due(20)
    assert "Dublin" in as_ada.get(order.get_absolute_url()).text


def test_over_the_api_the_address_is_checked_and_the_saga_answered(ada: User, grace: User, order: Order) -> None:
    api, path = APIClient(), f"/api/v1/orders/{order.number}/address/"
    assert api.post(path, FORM, format="json").status_code == 404
    api.force_authenticate(grace)
    assert api.post(path, FORM, format="json").status_code == 404
    api.force_authenticate(ada)
    assert api.post(path, {**FORM, "country": "XX"}, format="json").status_code == 400
    assert changes() == []

    answers: list[Any] = [api.post(path, FORM, format="json") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["definition"] == "shop.change_address"
    other = api.post(path, {**FORM, "city": "Cork"}, format="json")
    assert (other.status_code, other.json()["in_progress"]["holder"]) == (409, "shop.change_address")
