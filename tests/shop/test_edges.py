"""Orders at the edge of what the shop takes, with the real engine, bank and carrier."""

from dataclasses import replace

import pytest
from django.core import mail

from inventory.selectors import available
from sagas.audit import audit
from shop.models import Category, Order, Product
from tests.sandbox.processes import SandboxProcess
from tests.shop.flowing import settle
from tests.shop.shopping import ADDRESS, add_product, place

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.parametrize("mode", Order.Mode.values)]


def ended(order: Order) -> str:
    settle()
    assert audit().violations == ()
    order.refresh_from_db()
    return order.status


def test_the_longest_address_that_the_shop_takes_gets_its_parcel(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess, mode: str
) -> None:
    longest = replace(ADDRESS, name="n" * 100, line1="x" * 120, line2="y" * 120, city="c" * 80, postal_code="1" * 16)

    assert ended(place(("MUG", 1), address=longest, mode=mode)) == "confirmed"


def test_the_heaviest_order_that_the_shop_takes_gets_its_parcel(
    kitchen: Category, bank: SandboxProcess, carrier: SandboxProcess, mode: str
) -> None:
    add_product("ANVIL", stock=99, price=100, category=kitchen, weight_grams=2**31 - 1)

    assert ended(place(("ANVIL", 99), mode=mode)) == "confirmed"


def test_an_order_for_more_than_the_bank_takes_is_cancelled_and_keeps_no_stock(
    kitchen: Category, bank: SandboxProcess, carrier: SandboxProcess, mode: str
) -> None:
    add_product("YACHT", stock=99, price=2_000_000, category=kitchen)
    order = place(("YACHT", 99), mode=mode)

    assert ended(order) == "cancelled"
    assert order.cancel_reason == "The bank does not take payments this large."
    assert available(["YACHT"]) == {"YACHT": 99}
    assert bank.ledger(order.number) == []


def test_an_address_that_no_mail_can_be_sent_to_does_not_hold_up_its_order(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess, mode: str
) -> None:
    assert ended(place(("MUG", 1), email="ada@\u3002example.org", mode=mode)) == "confirmed"
    assert mail.outbox == []
