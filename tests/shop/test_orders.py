import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sagas.driver import drain_due
from shop.models import Order, Product
from shop.services import access_token_of
from tests.sandbox.processes import SandboxProcess
from tests.shop.shopping import place, put_in_cart, submit_checkout


@pytest.fixture
def adas(mug: Product, ada: User) -> Order:
    return place(("MUG", 2), user=ada)


@pytest.fixture
def guests(mug: Product) -> Order:
    return place(("MUG", 1))


def answers(client: Client, number: str) -> set[int]:
    return {client.get(f"/orders/{number}/{part}").status_code for part in ("", "status/")}


def test_the_owner_sees_their_order(as_ada: Client, adas: Order) -> None:
    page = as_ada.get(f"/orders/{adas.number}/")

    text = page.content.decode()
    assert page.status_code == 200
    assert "no-store" in page.headers["Cache-Control"]
    assert all(word in text for word in (adas.number, "2 × €19.99", "€39.98", "Ada Lovelace", "Germany"))


def test_somebody_elses_order_is_like_one_that_is_not_there(
    client: Client, adas: Order, guests: Order, grace: User
) -> None:
    assert answers(client, adas.number) == answers(client, guests.number) == answers(client, "S-2222222222") == {404}

    client.force_login(grace)

    assert answers(client, adas.number) == answers(client, guests.number) == answers(client, "S-2222222222") == {404}


def test_a_guests_order_is_seen_by_the_session_that_placed_it_only(client: Client, mug: Product) -> None:
    put_in_cart(client, mug)
    address = submit_checkout(client).url

    assert client.get(address).status_code == 200
    assert Client().get(address).status_code == 404


def test_the_link_with_the_token_opens_the_order_and_hides_the_token(client: Client, guests: Order) -> None:
    response = client.get(f"/orders/{guests.number}/open/{access_token_of(guests)}/")

    assert (response.status_code, response.url) == (302, f"/orders/{guests.number}/")
    assert client.get(response.url).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_the_link_in_the_confirmation_opens_the_order_for_whoever_has_the_mail(
    client: Client, mug: Product, bank: SandboxProcess, carrier: SandboxProcess, settings: Any, mailoutbox: list[Any]
) -> None:
    settings.PUBLIC_URL = "https://shop.example/"
    order = place(("MUG", 1))
    drain_due(20)

    (mail,) = mailoutbox
    (path,) = re.findall(r"https://shop\.example(/\S+)", mail.body)

    assert mail.to == ["ada@example.org"]
    assert client.get(path, follow=True).context["order"] == order


def test_a_wrong_token_opens_nothing(client: Client, adas: Order, guests: Order) -> None:
    for token in (access_token_of(adas), guests.access_token_hash, "x", "ü"):
        assert client.get(f"/orders/{guests.number}/open/{token}/").status_code == 404

    assert client.get(f"/orders/S-2222222222/open/{access_token_of(adas)}/").status_code == 404
    assert answers(client, guests.number) == {404}


def test_after_the_logout_the_session_sees_no_order(as_ada: Client, guests: Order) -> None:
    as_ada.get(f"/orders/{guests.number}/open/{access_token_of(guests)}/")

    as_ada.post("/account/logout/")

    assert answers(as_ada, guests.number) == {404}


def test_the_history_shows_the_accounts_own_orders_newest_first(as_ada: Client, adas: Order, guests: Order) -> None:
    second = place(("MUG", 1), user=adas.user)

    page = as_ada.get("/orders/")

    assert [order.number for order in page.context["page"]] == [second.number, adas.number]


def test_a_guest_has_no_history(client: Client) -> None:
    response = client.get("/orders/")

    assert (response.status_code, response.url) == (302, "/account/login/?next=/orders/")


def test_the_history_costs_the_same_for_one_order_as_for_eight(as_ada: Client, adas: Order) -> None:
    with CaptureQueriesContext(connection) as for_one:
        as_ada.get("/orders/")
    for _ in range(7):
        place(("MUG", 1), user=adas.user)
    with CaptureQueriesContext(connection) as for_eight:
        as_ada.get("/orders/")

    assert len(for_one) == len(for_eight) <= 6


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_an_order_page_is_only_read(as_ada: Client, adas: Order, method: str) -> None:
    assert getattr(as_ada, method)(f"/orders/{adas.number}/").status_code == 405
