"""Orders in the admin: shown with their lock, sagas, money and parcel; protected while a saga holds them."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from inventory import services as inventory
from payments import services as payments
from sagas.models import SagaInstance, SemanticLock
from shop import order_admin
from shop.models import Category, Order, Product
from shop.services import Address, place_order

LIST = "/admin/shop/order/"
MARKUP = "<script>alert(1)</script>"


@pytest.fixture
def mug(db: None) -> Product:
    kitchen = Category.objects.create(name="Kitchen", slug="kitchen")
    product = Product.objects.create(
        sku="MUG-1", name="Mug", slug="mug-1", category=kitchen, price_amount=1999, weight_grams=300
    )
    inventory.receive("MUG-1", 50)
    return product


def an_order(name: str = "Ada Lovelace") -> Order:
    order, _ = place_order(
        email="ada@example.org",
        lines=[("MUG-1", 2)],
        address=Address(name, "12 St James's Square", "Dublin", "D02", "IE"),
        payment_method="pm_card_visa",
    )
    return order


def let_go(order: Order) -> None:
    """As if its saga had ended."""
    SemanticLock.objects.filter(resource_id=order.number).delete()


def client_with(*permissions: str, username: str = "grace") -> Client:
    user = User.objects.create_user(username, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def page(order: Order) -> str:
    return reverse("admin:shop_order_change", args=[order.pk])


def email_form(order: Order, email: str) -> dict[str, Any]:
    return {
        "email": email,
        "lines-TOTAL_FORMS": 1,
        "lines-INITIAL_FORMS": 1,
        "lines-0-id": order.lines.get().pk,
        "lines-0-order": order.pk,
    }


def text_of(response: Any) -> str:
    return str(response.content.decode())


def test_the_page_says_who_holds_the_order_since_when_and_at_which_step(mug: Product) -> None:
    order = an_order()
    saga = SagaInstance.objects.get(business_key=order.number)

    response = client_with("view_order").get(page(order))

    holder = response.context["holder"]
    assert (holder.saga_id, holder.step) == (saga.pk, "validate_order")
    assert holder.since.strftime("%Y-%m-%d %H:%M:%S") in text_of(response)
    assert reverse("admin:sagas_sagainstance_change", args=[saga.pk]) in text_of(response)


def test_the_page_shows_lines_money_and_parcel(mug: Product) -> None:
    order = an_order()
    payments.open_payment(order.number, order.total, "pm_card_visa", key="k")

    text = text_of(client_with("view_order", "view_orderline").get(page(order)))

    assert "19.99 EUR" in text
    assert "39.98 EUR" in text
    assert "No shipment was begun." in text
    assert "Unknown" in text


def test_an_order_is_reached_by_its_number(mug: Product) -> None:
    order = an_order()
    client = client_with("view_order")

    assert client.get(order_admin.order_page(order.number)).headers["Location"] == page(order)
    assert client.get(order_admin.order_page("S-NOBODYS")).status_code == 404


def test_the_saga_list_leads_to_the_order(mug: Product) -> None:
    order = an_order()

    text = text_of(client_with("view_sagainstance").get("/admin/sagas/sagainstance/"))

    assert f'<a href="{order_admin.order_page(order.number)}">{order.number}</a>' in text


def test_a_held_order_cannot_be_edited_and_says_who_holds_it(mug: Product) -> None:
    order = an_order()
    client = client_with("view_order", "change_order")

    shown = client.get(page(order))
    posted = client.post(page(order), email_form(order, "eve@example.org"), follow=True)

    order.refresh_from_db()
    assert order.email == "ada@example.org"
    assert 'name="email"' not in text_of(shown)
    (message,) = posted.context["messages"]
    assert str(message).startswith("Nothing was changed: shop.checkout has held the order since ")


def test_an_order_that_is_taken_while_it_is_saved_is_not_changed(mug: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    order = an_order()
    lock = SemanticLock.objects.get(resource_id=order.number)
    let_go(order)
    save = order_admin.OrderAdmin.save_model

    def taken_first(*args: Any, **kwargs: Any) -> None:
        lock.save(force_insert=True)
        save(*args, **kwargs)

    monkeypatch.setattr(order_admin.OrderAdmin, "save_model", taken_first)
    response = client_with("view_order", "change_order").post(
        page(order), email_form(order, "eve@example.org"), follow=True
    )

    order.refresh_from_db()
    assert order.email == "ada@example.org"
    assert "Nothing was changed: shop.checkout has held the order" in text_of(response)


def test_the_email_of_a_free_order_can_be_put_right(mug: Product) -> None:
    order = an_order()
    let_go(order)
    client = client_with("view_order", "change_order")

    response = client.post(page(order), email_form(order, "ada@example.com"))

    order.refresh_from_db()
    assert response.status_code == 302
    assert order.email == "ada@example.com"
    assert not SemanticLock.objects.exists()


def test_nothing_but_the_email_is_taken_from_the_form(mug: Product) -> None:
    order = an_order()
    let_go(order)
    before = Order.objects.filter(pk=order.pk).values().get()
    forged = {"status": "confirmed", "total_amount": "1", "number": "S-EVE", "ship_name": "Eve", "user": "1"}

    client_with("change_order").post(page(order), {**email_form(order, "eve@example.org"), **forged})

    assert Order.objects.filter(pk=order.pk).values().get() == {**before, "email": "eve@example.org"}


def test_a_viewer_changes_nothing(mug: Product) -> None:
    order = an_order()
    let_go(order)

    response = client_with("view_order").post(page(order), email_form(order, "eve@example.org"))

    order.refresh_from_db()
    assert response.status_code == 403
    assert order.email == "ada@example.org"


@pytest.mark.parametrize("path", ["add/", "{pk}/delete/"])
def test_orders_are_neither_added_nor_deleted_by_hand(mug: Product, path: str) -> None:
    order = an_order()
    client = client_with("view_order", "add_order", "change_order", "delete_order")

    assert client.post(LIST + path.format(pk=order.pk), {"post": "yes"}).status_code == 403
    assert Order.objects.count() == 1


def test_staff_without_permission_and_visitors_see_no_order(mug: Product) -> None:
    order = an_order()

    for address in (LIST, page(order), order_admin.order_page(order.number)):
        assert client_with(username=address[-30:]).get(address).status_code == 403
        assert Client().get(address).status_code == 302


def test_the_list_asks_no_query_per_row_and_says_who_holds_each(mug: Product) -> None:
    client = client_with("view_order")
    an_order()
    with CaptureQueriesContext(connection) as with_one:
        client.get(LIST)
    for _ in range(5):
        an_order()

    with CaptureQueriesContext(connection) as with_six:
        response = client.get(LIST)

    assert len(with_six) == len(with_one)
    assert text_of(response).count("at validate_order") == 6


def test_an_order_is_found_by_the_beginning_of_its_number(mug: Product) -> None:
    order = an_order()
    an_order()

    response = client_with("view_order").get(LIST, {"q": order.number[:8].lower()})

    assert [found.number for found in response.context["cl"].result_list] == [order.number]


def test_markup_in_an_address_is_shown_as_text(mug: Product) -> None:
    order = an_order(name=MARKUP)

    text = text_of(client_with("view_order").get(page(order)))

    assert MARKUP not in text
    assert "&lt;script&gt;" in text
