import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from sagas.models import SagaInstance, SemanticLock
from shop import services
from shop.exceptions import (
    CartAlreadyOrdered,
    EmptyOrder,
    MixedCurrencies,
    NotEnoughStock,
    OrderCannotBecome,
    QuantityOutOfRange,
    TooManyLines,
    UnknownOrder,
    UnknownProduct,
)
from shop.models import Cart, Order, Product
from tests.holding import act_for_holder_of
from tests.racing import race
from tests.shop.shopping import ADDRESS, add_product, nothing_was_ordered, place


def test_an_order_copies_names_and_prices_from_the_catalogue(mug: Product, kettle: Product, ada: User) -> None:
    order = place(("KETTLE", 1), ("MUG", 2), user=ada)
    Product.objects.update(price_amount=1, name="Renamed")

    order = Order.objects.get(number=order.number)
    assert [(line.sku, line.name, line.quantity, line.unit_amount, line.currency) for line in order.lines.all()] == [
        ("KETTLE", "Kettle", 1, 5900, "EUR"),
        ("MUG", "Mug", 2, 1999, "EUR"),
    ]
    assert (order.total_amount, order.currency, order.status, order.user) == (9898, "EUR", "pending", ada)
    assert (order.ship_name, order.ship_line1, order.ship_city) == ("Ada Lovelace", "Main Street 1", "Berlin")


def test_an_order_and_its_saga_are_one_commit(mug: Product) -> None:
    order = place(("MUG", 1))

    saga = SagaInstance.objects.get(definition="shop.checkout", business_key=order.number)
    assert (saga.status, SemanticLock.objects.get(resource_id=order.number).saga_id) == ("PENDING", saga.pk)


def test_an_order_that_is_rolled_back_leaves_no_saga(mug: Product) -> None:
    with transaction.atomic():
        place(("MUG", 1))
        transaction.set_rollback(True)

    assert nothing_was_ordered()


def test_lines_that_name_a_product_twice_are_added_up(mug: Product) -> None:
    order = place(("MUG", 2), ("MUG", 3))

    assert [(line.sku, line.quantity) for line in order.lines.all()] == [("MUG", 5)]


@pytest.mark.parametrize(
    ("lines", "refusal", "text"),
    [
        ([], EmptyOrder, "There is nothing in this order."),
        ([("NO-SUCH", 1)], UnknownProduct, "There is no product “NO-SUCH” for sale."),
        ([("MUG", 0)], QuantityOutOfRange, "The quantity of “MUG” has to be between 1 and 99."),
        ([("MUG", -1)], QuantityOutOfRange, "The quantity of “MUG” has to be between 1 and 99."),
        ([("MUG", 10**12)], QuantityOutOfRange, "The quantity of “MUG” has to be between 1 and 99."),
        ([("MUG", 99), ("MUG", 1)], QuantityOutOfRange, "The quantity of “MUG” has to be between 1 and 99."),
        ([("MUG", 11)], NotEnoughStock, "Only 10 of “Mug” are left."),
        ([("GONE", 1)], NotEnoughStock, "“Gone” is sold out."),
        ([("HIDDEN", 1)], UnknownProduct, "There is no product “HIDDEN” for sale."),
        (
            [("MUG", 1), ("DOLLAR", 1)],
            MixedCurrencies,
            "One order has one currency, and these products have EUR and USD.",
        ),
        ([(f"P{n}", 1) for n in range(51)], TooManyLines, "An order has at most 50 different products."),
    ],
)
def test_a_bad_order_is_refused_with_its_reason_and_leaves_nothing(
    mug: Product, lines: list[tuple[str, int]], refusal: type[Exception], text: str
) -> None:
    add_product("GONE", category=mug.category, stock=0)
    add_product("HIDDEN", category=mug.category, is_active=False)
    add_product("DOLLAR", category=mug.category, currency="USD")

    with pytest.raises(refusal) as refused:
        place(*lines)

    assert str(refused.value) == text
    assert refused.value.field == "lines"
    assert nothing_was_ordered()


def test_order_numbers_cannot_be_guessed_or_misread(mug: Product) -> None:
    numbers = {place(("MUG", 1)).number for _ in range(5)}

    assert len(numbers) == 5
    assert all(re.fullmatch("S-[2-9A-HJKMNP-TV-Z]{10}", number) for number in numbers)


def test_the_access_token_is_stored_only_as_its_hash(mug: Product) -> None:
    order, token = services.place_order(
        email="ada@example.org", lines=[("MUG", 1)], address=ADDRESS, payment_method="pm_card_visa"
    )

    assert len(token) == 64
    assert token not in Order.objects.filter(pk=order.pk).values_list()[0]
    assert services.opens_order(order, token)
    assert not services.opens_order(order, order.access_token_hash)
    assert not services.opens_order(order, "")


def test_the_access_token_can_be_told_again_after_the_secret_key_was_changed(mug: Product, settings: Any) -> None:
    order, token = services.place_order(
        email="ada@example.org", lines=[("MUG", 1)], address=ADDRESS, payment_method="pm_card_visa"
    )
    assert services.access_token_of(order) == token

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new one", [settings.SECRET_KEY]
    assert services.access_token_of(order) == token

    settings.SECRET_KEY_FALLBACKS = []
    assert services.access_token_of(order) == ""
    assert services.opens_order(order, token)


def test_a_cart_becomes_one_order(mug: Product) -> None:
    cart = Cart.objects.create()
    first = place(("MUG", 1), cart=cart)

    with pytest.raises(CartAlreadyOrdered) as refused:
        place(("MUG", 1), cart=cart)

    assert refused.value.number == first.number
    assert list(Order.objects.all()) == [first]


@pytest.mark.django_db(transaction=True)
def test_of_two_clicks_at_the_same_moment_the_second_is_told_the_first_order(mug: Product) -> None:
    cart = Cart.objects.create()

    results = race([lambda: place(("MUG", 1), cart=cart)] * 2)

    order = Order.objects.get()
    assert sorted(type(result).__name__ for result in results) == ["CartAlreadyOrdered", "Order"]
    assert {result.number for result in results} == {order.number}
    assert SagaInstance.objects.count() == 1


def test_an_order_is_confirmed_once(mug: Product) -> None:
    number = place(("MUG", 1)).number
    act_for_holder_of(number)

    first = services.confirm_order(number)
    second = services.confirm_order(number)

    assert (first.status, second.status) == ("confirmed", "confirmed")
    assert first.confirmed_at is not None
    assert first.confirmed_at == second.confirmed_at


def test_the_first_reason_of_a_cancelled_order_stays(mug: Product) -> None:
    number = place(("MUG", 1)).number
    act_for_holder_of(number)

    services.cancel_order(number, "Your bank declined the card.")
    order = services.cancel_order(number, "Another reason.")

    assert (order.status, order.cancel_reason) == ("cancelled", "Your bank declined the card.")
    assert order.cancelled_at is not None


@pytest.mark.parametrize(
    ("before", "move"),
    [
        ("cancelled", services.confirm_order),
        ("shipped", services.confirm_order),
        ("shipped", lambda number: services.cancel_order(number, "Too late.")),
        ("returned", lambda number: services.cancel_order(number, "Too late.")),
    ],
)
def test_an_order_does_not_jump(mug: Product, before: str, move: Callable[[str], Order]) -> None:
    number = place(("MUG", 1)).number
    act_for_holder_of(number)
    if before == "cancelled":
        services.cancel_order(number, "Because.")
    Order.objects.filter(number=number).exclude(status=before).update(status=before)

    with pytest.raises(OrderCannotBecome):
        move(number)

    assert Order.objects.get(number=number).status == before


@pytest.mark.django_db
def test_an_order_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownOrder, match="There is no order S-NONE"):
        services.confirm_order("S-NONE")
