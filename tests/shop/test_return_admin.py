"""The forms on the order's page in the admin that tell a return of its parcel."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from sagas.models import SagaInstance, Signal
from shop.after_sales import ask_to_return
from shop.models import Order, Product
from tests.shop.shopping import place

pytestmark = pytest.mark.django_db


@pytest.fixture
def order(mug: Product) -> Order:
    """Two mugs that arrived and are to be returned."""
    placed = place(("MUG", 2))
    SagaInstance.objects.filter(business_key=placed.number).delete()
    Order.objects.filter(pk=placed.pk).update(status="delivered")
    ask_to_return(placed.number, "too heavy")
    return placed


def clerk(*codenames: str) -> Client:
    user = User.objects.create_user("grace", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


def page(order: Order) -> str:
    return f"/admin/shop/order/{order.pk}/change/"


def tell(client: Client, order: Order, what: str, **answers: Any) -> Any:
    return client.post(f"/admin/shop/order/{order.pk}/return/{what}/", answers, follow=True)


def payloads() -> list[tuple[str, Any]]:
    return list(Signal.objects.order_by("id").values_list("name", "payload"))


def test_the_parcel_and_the_verdict_are_told_on_the_orders_page(order: Order) -> None:
    grace = clerk("view_order", "handle_returns")
    assert "The parcel is here" in grace.get(page(order)).text

    received = tell(grace, order, "received")
    inspected = tell(grace, order, "inspected", verdict="accepted", reason="", **{"broken MUG": 1})

    assert received.redirect_chain == [(page(order), 302)]
    assert "The parcel is noted as received." in received.text
    assert "The verdict is noted, and the return goes on." in inspected.text
    assert payloads() == [
        ("parcel_back", {"told_by": "grace"}),
        ("inspect_goods", {"accepted": True, "inspector": "grace", "reason": "", "broken": {"MUG": 1}}),
    ]


def test_a_double_click_tells_once(order: Order) -> None:
    grace = clerk("view_order", "handle_returns")

    for _ in range(2):
        tell(grace, order, "received")
        second = tell(grace, order, "inspected", verdict="accepted", reason="", **{"broken MUG": 0})

    assert "The return was inspected before; nothing was changed." in second.text
    assert len(payloads()) == 2


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"verdict": "refused", "reason": "", "broken MUG": 0}, "Say why, in words for the customer."),
        ({"verdict": "accepted", "reason": "", "broken MUG": 3}, "less than or equal to 2"),
        ({"reason": "", "broken MUG": 0}, "Verdict: This field is required."),
    ],
)
def test_a_verdict_that_cannot_be_right_is_told_and_not_noted(order: Order, answers: Any, words: str) -> None:
    response = tell(clerk("view_order", "handle_returns"), order, "inspected", **answers)

    assert "Nothing was noted." in response.text
    assert words in response.text
    assert payloads() == []


def test_who_may_only_view_orders_sees_the_return_and_cannot_tell_anything(order: Order) -> None:
    viewer = clerk("view_order")

    text = viewer.get(page(order)).text
    assert "You may not handle returns." in text
    assert "Note the verdict" not in text
    for what in ("received", "inspected"):
        assert tell(viewer, order, what, verdict="accepted").status_code == 403
    assert payloads() == []


def test_a_look_at_the_address_of_a_form_tells_nothing(order: Order) -> None:
    grace = clerk("view_order", "handle_returns")

    assert grace.get(f"/admin/shop/order/{order.pk}/return/received/").status_code == 405
    assert payloads() == []


def test_an_order_without_a_return_has_no_forms(order: Order) -> None:
    SagaInstance.objects.all().delete()
    grace = clerk("view_order", "change_order", "handle_returns")

    assert "order-return" not in grace.get(page(order)).text
    assert "Nobody asked to return this order." in tell(grace, order, "received").text


def test_the_forms_do_not_stand_inside_the_pages_own_form(order: Order) -> None:
    text = clerk("view_order", "change_order", "handle_returns").get(page(order)).text

    depth = 0
    for tag in re.findall(r"<(/?)form\b", text):
        depth += -1 if tag else 1
        assert depth in (0, 1)
