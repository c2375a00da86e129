from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from inventory import services as inventory
from shop import carts
from shop.models import Cart, Order, Product
from tests.racing import race
from tests.shop.shopping import FORM, nothing_was_ordered, put_in_cart, seen_by, submit_checkout


def errors_of(response: object) -> dict[str, list[str]]:
    assert response.status_code == 422  # type: ignore[attr-defined]
    return dict(response.context["form"].errors)  # type: ignore[attr-defined]


def test_a_guest_orders_and_sees_the_order(client: Client, mug: Product) -> None:
    put_in_cart(client, mug, 2)

    response = submit_checkout(client)

    order = Order.objects.get()
    assert (response.status_code, response.url) == (302, f"/orders/{order.number}/")
    assert client.get(response.url).status_code == 200
    assert (order.email, order.user, order.total_amount) == ("ada@example.org", None, 3998)
    assert (order.ship_name, order.ship_country, order.payment_method) == ("Ada Lovelace", "DE", "pm_card_visa")
    assert order.cart == Cart.objects.get()


def test_an_account_orders_and_the_next_time_the_address_is_known(as_ada: Client, ada: User, mug: Product) -> None:
    put_in_cart(as_ada, mug)
    assert as_ada.get("/checkout/").context["form"].initial == {"email": "ada@example.org"}
    submit_checkout(as_ada)

    put_in_cart(as_ada, mug)

    assert Order.objects.get().user == ada
    assert as_ada.get("/checkout/").context["form"].initial == {
        "email": "ada@example.org",
        "name": "Ada Lovelace",
        "line1": "Main Street 1",
        "line2": "",
        "postal_code": "10115",
        "city": "Berlin",
        "country": "DE",
    }


def test_an_empty_cart_has_no_checkout(client: Client, mug: Product) -> None:
    for response in (client.get("/checkout/"), client.post("/checkout/", FORM)):
        assert (response.status_code, response.url) == (302, "/cart/")

    put_in_cart(client, mug)
    seen = seen_by(client)
    client.post("/cart/change/mug/", {"quantity": 0})
    assert client.post("/checkout/", {**FORM, "seen": seen}).url == "/cart/"
    assert nothing_was_ordered()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "not an address"),
        ("email", ""),
        ("email", f"{'a' * 250}@example.org"),
        ("name", ""),
        ("email", '"a\x01b"@example.org'),
        ("name", "a\x00b"),
        ("name", "Ada\nYour parcel is held: pay at http://example.org"),
        ("line1", "Main Street\r\n1"),
        ("line2", "a\x1b[2Jb"),
        ("city", "Ber\x85lin"),
        ("postal_code", "10\t115"),
        ("line1", "x" * 121),
        ("city", " "),
        ("postal_code", "1" * 17),
        ("country", "XX"),
        ("payment_method", "pm_card_of_my_own"),
        ("payment_method", ""),
    ],
)
def test_bad_input_names_its_field_and_leaves_nothing(client: Client, mug: Product, field: str, value: str) -> None:
    put_in_cart(client, mug)

    response = submit_checkout(client, **{field: value})

    assert list(errors_of(response)) == [field]
    assert "That did not work yet" in response.content.decode()
    assert nothing_was_ordered()


def test_prices_and_totals_from_the_client_are_ignored(client: Client, mug: Product) -> None:
    put_in_cart(client, mug)

    submit_checkout(client, total="0.01", total_amount="1", currency="JPY", price="1", status="confirmed", user="1")

    order = Order.objects.get()
    assert (order.total_amount, order.currency, order.status, order.user) == (1999, "EUR", "pending", None)


def test_stock_that_went_meanwhile_is_told_and_leaves_nothing(client: Client, mug: Product) -> None:
    put_in_cart(client, mug, 5)
    inventory.write_off("MUG", 8, "broken")

    response = submit_checkout(client)

    assert errors_of(response) == {"__all__": ["Only 2 of “Mug” are left."]}
    assert nothing_was_ordered()


def test_nobody_orders_what_they_did_not_see(client: Client, mug: Product, kettle: Product) -> None:
    put_in_cart(client, mug)
    seen = seen_by(client)
    put_in_cart(client, kettle)  # in another tab

    response = submit_checkout(client, seen=seen)

    (text,) = errors_of(response)["__all__"]
    assert text.startswith("Your cart changed while you were here.")
    assert nothing_was_ordered()
    assert client.post("/checkout/", {**FORM, "seen": response.context["seen"]}).status_code == 302


def test_nobody_pays_a_price_they_did_not_see(client: Client, mug: Product) -> None:
    put_in_cart(client, mug)
    seen = seen_by(client)
    Product.objects.update(price_amount=9900)

    response = submit_checkout(client, seen=seen)

    assert list(errors_of(response)) == ["__all__"]
    assert nothing_was_ordered()


def test_nobody_pays_a_price_that_changed_while_their_order_was_placed(
    client: Client, mug: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_cart(client, mug)
    seen = seen_by(client)
    place_order = carts.place_order

    def as_it_gets_dearer(**wish: Any) -> Any:
        Product.objects.update(price_amount=9900)
        return place_order(**wish)

    monkeypatch.setattr(carts, "place_order", as_it_gets_dearer)
    response = submit_checkout(client, seen=seen)

    (text,) = errors_of(response)["__all__"]
    assert text.startswith("Your cart changed while you were here.")
    assert nothing_was_ordered()


def test_a_second_submit_shows_the_first_order(client: Client, mug: Product) -> None:
    put_in_cart(client, mug)
    seen = seen_by(client)

    first = submit_checkout(client, seen=seen)
    second = submit_checkout(client, seen=seen)

    assert first.url == second.url
    assert Order.objects.count() == 1
    assert "You have ordered this already" in client.get(second.url).content.decode()


def test_an_old_tab_does_not_order_the_same_things_again(client: Client, mug: Product) -> None:
    put_in_cart(client, mug)
    seen = seen_by(client)
    submit_checkout(client, seen=seen)
    put_in_cart(client, mug)

    response = submit_checkout(client, seen=seen)

    assert list(errors_of(response)) == ["__all__"]
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_double_click_makes_one_order_and_both_answers_lead_to_it(client: Client, mug: Product) -> None:
    put_in_cart(client, mug)
    body = {**FORM, "seen": seen_by(client)}

    def click() -> str:
        tab = Client()
        tab.cookies.update(client.cookies)
        return tab.post("/checkout/", body).url

    answers = race([click, click])

    order = Order.objects.get()
    assert answers == [f"/orders/{order.number}/"] * 2
    assert client.get(answers[0]).status_code == 200


def test_without_test_cards_the_page_says_so_and_takes_no_order(client: Client, mug: Product, settings: object) -> None:
    settings.SANDBOX = settings.DEBUG = False  # type: ignore[attr-defined]
    put_in_cart(client, mug)

    page = client.get("/checkout/").content.decode()
    response = submit_checkout(client)

    assert "takes no card payments on its pages" in page
    assert "Order and pay" not in page
    assert list(errors_of(response)) == ["payment_method"]
    assert nothing_was_ordered()


def test_a_post_from_another_site_is_refused(mug: Product) -> None:
    stranger = Client(enforce_csrf_checks=True)

    response = stranger.post("/cart/add/mug/", {"quantity": 1})

    assert response.status_code == 403
    assert "Please try once more" in response.content.decode()
    assert not Cart.objects.exists()
