from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from inventory import services as inventory
from shop import carts
from shop.models import Cart, CartLine, Category, Order, Product
from tests.shop.shopping import add_product, cart_lines, change_cart, place, put_in_cart, submit_checkout


def test_a_product_is_put_in_the_cart_and_counted(client: Client, mug: Product) -> None:
    response = put_in_cart(client, mug, 2)
    put_in_cart(client, mug, 3)

    assert (response.status_code, response.url) == (302, "/cart/")
    assert cart_lines(client) == {"MUG": 5}
    assert "€99.95" in client.get("/cart/").content.decode()


@pytest.mark.parametrize("quantity", ["0", "-1", "100", "9" * 30, "1.5", "", "two", "\x00"])
def test_a_bad_quantity_is_refused_and_leaves_no_cart(client: Client, mug: Product, quantity: str) -> None:
    response = client.post("/cart/add/mug/", {"quantity": quantity}, follow=True)

    assert "The quantity has to be a number from 1 to 99." in response.content.decode()
    assert not Cart.objects.exists()


def test_more_than_the_stock_is_refused_and_leaves_no_cart(client: Client, kettle: Product) -> None:
    response = client.post("/cart/add/kettle/", {"quantity": 4}, follow=True)

    assert "Only 3 of “Kettle” are left." in response.content.decode()
    assert not Cart.objects.exists()


def test_a_price_from_the_client_is_ignored(client: Client, mug: Product) -> None:
    client.post("/cart/add/mug/", {"quantity": 1, "price": "0.01", "price_amount": 1})

    assert client.get("/cart/").context["total"].amount == 1999


def test_a_quantity_is_changed_and_zero_takes_the_line_out(client: Client, mug: Product, kettle: Product) -> None:
    put_in_cart(client, mug, 2)
    put_in_cart(client, kettle)

    change_cart(client, mug, 7)
    assert cart_lines(client) == {"MUG": 7, "KETTLE": 1}

    change_cart(client, mug, 0)
    assert cart_lines(client) == {"KETTLE": 1}

    client.post("/cart/change/kettle/", {"quantity": "1", "remove": "1"})
    assert cart_lines(client) == {}
    assert "Your cart is empty." in client.get("/cart/").content.decode()


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        ("-1", "The quantity has to be"),
        ("100", "The quantity has to be"),
        ("x", "The quantity"),
        ("11", "Only 10 of “Mug”"),
    ],
)
def test_a_bad_change_is_refused_and_changes_nothing(client: Client, mug: Product, quantity: str, text: str) -> None:
    put_in_cart(client, mug, 2)

    response = change_cart(client, mug, quantity)

    assert text in response.content.decode()
    assert cart_lines(client) == {"MUG": 2}


def test_without_a_cart_a_change_makes_none(client: Client, mug: Product) -> None:
    change_cart(client, mug, 3)

    assert not Cart.objects.exists()


def test_a_cart_belongs_to_its_session(client: Client, mug: Product) -> None:
    put_in_cart(client, mug, 2)

    assert cart_lines(Client()) == {}


def test_reading_leaves_no_cart_and_no_session(client: Client, mug: Product) -> None:
    client.get("/")
    client.get("/cart/")

    assert not Cart.objects.exists()
    assert "sessionid" not in client.cookies


def test_a_guests_cart_survives_the_login(client: Client, mug: Product, ada: User) -> None:
    put_in_cart(client, mug, 2)

    client.post("/account/login/", {"username": ada.username, "password": "a quiet pass phrase"})

    assert cart_lines(client) == {"MUG": 2}
    assert Cart.objects.get().user == ada


def test_at_login_the_guests_cart_joins_the_one_the_account_had(
    client: Client, as_ada: Client, ada: User, mug: Product, kettle: Product
) -> None:
    put_in_cart(as_ada, mug, 2)
    put_in_cart(client, mug, 3)
    put_in_cart(client, kettle)

    client.force_login(ada)

    assert cart_lines(client) == cart_lines(as_ada) == {"MUG": 5, "KETTLE": 1}
    assert Cart.objects.count() == 1


@pytest.mark.parametrize("faster", ["another tab logged in", "another tab ordered", "the account ordered"])
def test_at_login_a_cart_that_another_tab_was_faster_with_is_left_alone(
    client: Client, ada: User, mug: Product, kettle: Product, monkeypatch: pytest.MonkeyPatch, faster: str
) -> None:
    kept = Cart.objects.create(user=ada)
    carts.add_product(kept, mug, 1)
    put_in_cart(client, kettle, 2)
    guest = Cart.objects.get(user=None)
    hand_over = carts._hand_over

    def too_late(*args: Any) -> None:
        monkeypatch.undo()
        match faster:
            case "another tab logged in":
                hand_over(Cart.objects.get(pk=guest.pk), kept, ada)
            case "another tab ordered":
                place(("KETTLE", 2), cart=guest)
            case "the account ordered":
                place(("MUG", 1), cart=kept)
        hand_over(*args)

    monkeypatch.setattr(carts, "_hand_over", too_late)
    response = client.post("/account/login/", {"username": "ada@example.org", "password": "a quiet pass phrase"})

    assert response.status_code == 302
    assert (
        cart_lines(client)
        == {
            "another tab logged in": {"MUG": 1, "KETTLE": 2},
            "another tab ordered": {"MUG": 1},
            "the account ordered": {"KETTLE": 2},
        }[faster]
    )
    for order in Order.objects.all():
        assert [line.product.sku for line in order.cart.lines.all()] == [line.sku for line in order.lines.all()]


def test_at_login_nobody_takes_over_the_cart_of_another_account(
    as_ada: Client, ada: User, grace: User, mug: Product
) -> None:
    put_in_cart(as_ada, mug, 2)

    as_ada.force_login(grace)

    assert cart_lines(as_ada) == {}
    assert Cart.objects.get().user == ada


def test_a_session_that_names_the_cart_of_an_account_does_not_get_it(
    client: Client, as_ada: Client, mug: Product, kettle: Product
) -> None:
    put_in_cart(as_ada, mug, 2)
    put_in_cart(client, kettle)
    session = client.session
    session["cart"] = Cart.objects.get(user__isnull=False).pk
    session.save()

    assert cart_lines(client) == {}
    assert cart_lines(as_ada) == {"MUG": 2}


def test_after_the_logout_the_cart_waits_for_its_account(as_ada: Client, ada: User, mug: Product) -> None:
    put_in_cart(as_ada, mug, 2)

    as_ada.post("/account/logout/")
    assert cart_lines(as_ada) == {}

    as_ada.force_login(ada)
    assert cart_lines(as_ada) == {"MUG": 2}


def test_an_ordered_cart_is_closed_and_the_next_product_opens_a_new_one(
    client: Client, mug: Product, kettle: Product
) -> None:
    put_in_cart(client, mug, 2)
    submit_checkout(client)

    assert cart_lines(client) == {}
    put_in_cart(client, kettle)

    assert cart_lines(client) == {"KETTLE": 1}
    assert CartLine.objects.get(cart__order__isnull=False).quantity == 2


def test_the_cart_says_what_is_no_longer_there_and_does_not_lead_on(client: Client, mug: Product) -> None:
    put_in_cart(client, mug, 5)
    inventory.write_off("MUG", 8, "broken")

    page = client.get("/cart/").content.decode()

    assert "Only 2 left" in page
    assert "To the checkout" not in page


def test_a_product_off_sale_leaves_the_cart(client: Client, mug: Product, kettle: Product) -> None:
    put_in_cart(client, mug)
    put_in_cart(client, kettle)
    Product.objects.filter(sku="MUG").update(is_active=False)

    assert cart_lines(client) == {"KETTLE": 1}


def test_htmx_gets_the_count_and_a_word_instead_of_a_page(client: Client, mug: Product, kettle: Product) -> None:
    added = put_in_cart(client, mug, 2, HX_Request="true").content.decode()
    refused = put_in_cart(client, kettle, 9, HX_Request="true").content.decode()

    assert "“Mug” is in your cart." in added
    assert 'id="cart-link"' in added
    assert "<html" not in added
    assert "Only 3 of “Kettle” are left." in refused


def test_a_cart_costs_the_same_for_one_line_as_for_ten(client: Client, kitchen: Category) -> None:
    counts = []
    for number in range(10):
        put_in_cart(client, add_product(f"P{number}", category=kitchen))
        if number in (0, 9):
            with CaptureQueriesContext(connection) as queries:
                client.get("/cart/")
            counts.append(len(queries))

    assert counts[0] == counts[1] <= 8
