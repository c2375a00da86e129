"""What the page of a saga says of the order, the goods, the money and the parcels it is about."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from inventory import services as inventory
from money import Money
from payments import services as payments
from payments.gateway import Authorization
from sagas.models import SagaInstance
from shipping import services as shipping
from shipping.carrier import Address
from shop.models import Order, Product
from tests.shop.shopping import place

DUBLIN = Address("Ada", "12 Square", "Dublin", "D02", "IE")


@pytest.fixture
def order(mug: Product) -> Order:
    return place(("MUG", 1))


def shown(client: Client, order: Order) -> dict[str, Any]:
    """Each table with its rows, on the page of the order's checkout."""
    saga = SagaInstance.objects.get(business_key=order.number)
    page = client.get(reverse("admin:sagas_sagainstance_change", args=[saga.pk])).context["page"]
    return {table.what: [(row.name, row.state, row.words) for row in table.rows] for table in page.touched}


def test_at_first_there_is_only_the_order(admin_client: Client, order: Order) -> None:
    assert shown(admin_client, order) == {"order": [(order.number, "Pending", str(order.total))]}


def test_goods_money_and_every_parcel_are_shown_as_they_are_now(admin_client: Client, order: Order) -> None:
    number, price = order.number, str(order.total)
    inventory.reserve(number, {"MUG": 1})
    payments.open_payment(number, order.total, "pm_card_visa", key="k")
    payments.record_authorized(number, Authorization("pi_1", order.total_amount, order.currency))
    shipping.open_shipment(number, DUBLIN, 300)
    shipping.record_refused(number, "no_service", "nobody goes there")
    shipping.open_shipment(f"{number}-2", DUBLIN, 300)
    payments.open_payment("S-0THER", Money(1, "EUR"), "pm_card_visa", key="other")

    assert list(shown(admin_client, order).items()) == [
        ("order", [(number, "Pending", price)]),
        ("shipment", [(f"{number}-2", "outcome unknown", ""), (number, "refused", "nobody goes there")]),
        ("payment", [(number, "authorized", f"of {price}, authorized {price}")]),
        ("reservation", [(number, "held", "1 x MUG")]),
    ]


def test_each_row_leads_to_its_own_page(admin_client: Client, order: Order) -> None:
    inventory.reserve(order.number, {"MUG": 1})
    saga = SagaInstance.objects.get(business_key=order.number)
    page = admin_client.get(reverse("admin:sagas_sagainstance_change", args=[saga.pk])).context["page"]

    addresses = [row.url for table in page.touched for row in table.rows]

    assert len(addresses) == 2
    assert [admin_client.get(address).status_code for address in addresses] == [200, 200]
