"""Cancelling and returning on the order's page, without JavaScript."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from sagas.driver import drain_due
from sagas.models import SagaInstance
from shop.after_sales import ask_to_cancel, ask_to_return, inspect_return, receive_return
from shop.models import Order, Product
from shop.progress import progress_of
from shop.services import follow_parcel
from tests.sandbox.processes import SandboxProcess
from tests.shop.books import let_time_pass
from tests.shop.shopping import place
from tests.shop.test_cancel_races import boundaries

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def order(mug: Product, ada: User, bank: SandboxProcess, carrier: SandboxProcess) -> Order:
    """Ada's two mugs: paid, booked, confirmed."""
    placed = place(("MUG", 2), user=ada)
    drain_due(20)
    placed.refresh_from_db()
    return placed


def cancel_page(order: Order) -> str:
    return f"/orders/{order.number}/cancel/"


def return_page(order: Order) -> str:
    return f"/orders/{order.number}/return/"


def stages(order: Order) -> list[tuple[str, str]]:
    order.refresh_from_db()
    return [(stage.label, stage.state) for stage in progress_of(order).stages]


def headline(order: Order) -> str:
    order.refresh_from_db()
    return progress_of(order).headline


def test_a_shopper_cancels_after_a_question_and_follows_it(as_ada: Client, order: Order) -> None:
    assert cancel_page(order) in as_ada.get(order.get_absolute_url()).text
    question = as_ada.get(cancel_page(order))
    assert "Cancel this order?" in question.text
    assert SagaInstance.objects.filter(definition="shop.cancel_order").count() == 0

    answer = as_ada.post(cancel_page(order), {"reason": "found it"}, follow=True)

    assert answer.redirect_chain == [(order.get_absolute_url(), 302)]
    assert "We are cancelling your order" in answer.text
    assert cancel_page(order) not in answer.text
    assert "hx-get" in answer.text
    drain_due(20)
    page = as_ada.get(order.get_absolute_url()).text
    assert "Your order was cancelled" in page
    assert "You asked us to cancel it: “found it”. You got your money back." in page
    assert stages(order) == [
        ("You asked to cancel", "done"),
        ("Parcel stopped", "done"),
        ("Money given back", "done"),
        ("Cancelled", "done"),
    ]


def test_a_reason_is_text_and_never_markup(as_ada: Client, order: Order) -> None:
    as_ada.post(cancel_page(order), {"reason": "<script>alert(1)</script>"})
    drain_due(20)

    page = as_ada.get(order.get_absolute_url()).text

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_double_click_cancels_once(as_ada: Client, order: Order) -> None:
    answers = [as_ada.post(cancel_page(order)), as_ada.post(cancel_page(order))]

    assert [answer.url for answer in answers] == [order.get_absolute_url()] * 2
    assert SagaInstance.objects.filter(definition="shop.cancel_order").count() == 1


def test_a_cancel_during_the_checkout_turns_it_back(as_ada: Client, ada: User, mug: Product) -> None:
    pending = place(("MUG", 1), user=ada)

    page = as_ada.post(cancel_page(pending), follow=True).text

    assert "We are cancelling your order" in page
    assert cancel_page(pending) not in page
    drain_due(5)
    assert "You asked us to cancel it. Nothing was charged." in as_ada.get(pending.get_absolute_url()).text


def test_a_cancellation_in_line_says_what_it_waits_for(
    ada: User, mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    pending = place(("MUG", 1), user=ada)
    assert "before the record of capture_payment" in (where for where in boundaries(pending))
    ask_to_cancel(pending.number)

    assert headline(pending) == "We are about to cancel your order"


def test_a_parcel_on_its_way_is_told_on_the_page_and_leads_to_a_return(
    as_ada: Client, order: Order, carrier: SandboxProcess
) -> None:
    carrier.control(move=order.number, status="in_transit")
    as_ada.post(cancel_page(order))
    drain_due(20)

    page = as_ada.get(order.get_absolute_url()).text
    assert "Your order is confirmed" in page
    assert "Your parcel is on its way already" in page
    assert cancel_page(order) not in page
    follow_parcel(order.number, "in_transit")
    assert return_page(order) in as_ada.get(order.get_absolute_url()).text


def test_a_shopper_returns_an_order_and_follows_it(as_ada: Client, order: Order) -> None:
    follow_parcel(order.number, "delivered")
    assert return_page(order) in as_ada.get(order.get_absolute_url()).text
    assert "Send the whole parcel back to us within 14 days." in as_ada.get(return_page(order)).text

    as_ada.post(return_page(order), {"reason": "too heavy"})
    drain_due(5)
    assert headline(order) == "We are waiting for your parcel"
    assert not progress_of(order).live
    assert return_page(order) not in as_ada.get(order.get_absolute_url()).text
    receive_return(order.number, by="grace")
    drain_due(5)
    assert headline(order) == "Your parcel is back with us"
    inspect_return(order.number, accepted=True, by="grace")
    drain_due(20)

    assert headline(order) == "Your return is complete"
    assert stages(order) == [
        ("You asked to return it", "done"),
        ("Parcel with us", "done"),
        ("Goods looked at", "done"),
        ("Money given back", "done"),
    ]


def test_a_return_that_is_not_accepted_is_told_on_the_page_and_not_offered_again(as_ada: Client, order: Order) -> None:
    follow_parcel(order.number, "delivered")
    ask_to_return(order.number)
    receive_return(order.number, by="grace")
    inspect_return(order.number, accepted=False, by="grace", reason="Used for a year.")
    drain_due(20)

    page = as_ada.get(order.get_absolute_url()).text

    assert "Your parcel has arrived" in page
    assert "We looked at what you sent back and cannot take it: Used for a year." in page
    assert return_page(order) not in page


def test_a_return_whose_parcel_never_came_is_offered_again(as_ada: Client, order: Order) -> None:
    follow_parcel(order.number, "delivered")
    ask_to_return(order.number)
    drain_due(5)
    let_time_pass(days=15)
    drain_due(5)

    page = as_ada.get(order.get_absolute_url()).text

    assert "Your parcel did not come back to us in time." in page
    assert return_page(order) in page


def test_what_does_not_fit_is_said_on_the_orders_page_and_changes_nothing(as_ada: Client, order: Order) -> None:
    too_early = as_ada.post(return_page(order), follow=True)
    follow_parcel(order.number, "delivered")
    too_late = as_ada.post(cancel_page(order), follow=True)

    assert "You can cancel the order instead." in too_early.text
    assert "You can return it instead." in too_late.text
    assert SagaInstance.objects.count() == 1


@pytest.mark.parametrize("page", [cancel_page, return_page])
def test_somebody_elses_order_is_not_there(order: Order, grace: User, page: Any) -> None:
    stranger = Client()
    for _ in range(2):
        assert stranger.get(page(order)).status_code == 404
        assert stranger.post(page(order)).status_code == 404
        stranger.force_login(grace)

    assert SagaInstance.objects.count() == 1


@pytest.mark.parametrize("page", [cancel_page, return_page])
def test_a_post_from_another_site_is_refused(ada: User, order: Order, page: Any) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ada)

    assert strict.post(page(order)).status_code == 403
    assert SagaInstance.objects.count() == 1


@pytest.mark.parametrize("page", [cancel_page, return_page])
def test_a_reason_of_several_lines_is_told_and_nothing_happens(as_ada: Client, order: Order, page: Any) -> None:
    response = as_ada.post(page(order), {"reason": "mind\nYour money is lost."})

    assert (response.status_code, response.context["form"].errors) == (
        422,
        {"reason": ["Control characters and line breaks are not allowed."]},
    )
    assert SagaInstance.objects.count() == 1


def test_a_reason_that_is_too_long_is_told_and_nothing_happens(as_ada: Client, order: Order) -> None:
    response = as_ada.post(cancel_page(order), {"reason": "x" * 201})

    assert response.status_code == 422
    assert list(response.context["form"].errors) == ["reason"]
    assert SagaInstance.objects.count() == 1
