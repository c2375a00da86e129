"""No path around the saga that holds an order: the database itself refuses."""

import pytest
from django.db import OperationalError, connection, transaction

from sagas import services as sagas
from sagas.exceptions import LockTaken
from sagas.models import SagaInstance
from shop import services
from shop.models import Order, Product
from tests.shop.shopping import place

pytestmark = pytest.mark.django_db


UPDATE = "UPDATE shop_order SET status = 'shipped' WHERE number = %s"
DELETE = "DELETE FROM shop_order WHERE number = %s"


def run(statement: str, number: str, holder: str = "") -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('sagas.holder', %s, true)", [holder])
        cursor.execute(statement, [number])


@pytest.mark.parametrize("statement", [UPDATE, DELETE])
def test_raw_sql_cannot_change_or_delete_an_order_that_a_saga_holds(mug: Product, statement: str) -> None:
    order = place(("MUG", 1))

    with pytest.raises(OperationalError, match="is held by saga"):
        run(statement, order.number)

    assert Order.objects.get(number=order.number).status == "pending"


def test_another_saga_cannot_write_to_it_either(mug: Product) -> None:
    held, others = place(("MUG", 1)), place(("MUG", 1))
    other = SagaInstance.objects.get(business_key=others.number)
    own = SagaInstance.objects.get(business_key=held.number)

    with pytest.raises(OperationalError, match="is held by saga"):
        run(UPDATE, held.number, holder=str(other.pk))
    run(UPDATE, held.number, holder=str(own.pk))

    assert Order.objects.get(number=held.number).status == "shipped"


def test_the_guard_says_who_holds_it_before_the_database_has_to(mug: Product) -> None:
    order = place(("MUG", 1))

    with pytest.raises(LockTaken, match=r"held by shop\.checkout"), sagas.guard("shop.order", order.number):
        services.confirm_order(order.number)


def test_a_free_order_can_be_changed(mug: Product) -> None:
    order = place(("MUG", 1))
    SagaInstance.objects.filter(business_key=order.number).delete()

    with sagas.guard("shop.order", order.number):
        services.confirm_order(order.number)

    assert Order.objects.get(number=order.number).status == "confirmed"
