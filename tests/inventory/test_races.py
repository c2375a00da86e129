import random
from functools import partial

import pytest

from inventory import services
from inventory.exceptions import AlreadyCommitted, AlreadyReleased, OutOfStock
from inventory.models import Reservation, StockItem
from inventory.selectors import stock_violations
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)


def counters(sku):
    return StockItem.objects.values_list("on_hand", "reserved").get(sku=sku)


def test_of_twenty_buyers_of_the_last_unit_one_gets_it():
    services.receive("LAST", 1)

    results = race([partial(services.reserve, f"S-{n}", {"LAST": 1}) for n in range(20)])

    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, OutOfStock) for result in results) == 19
    assert counters("LAST") == (1, 1)
    assert Reservation.objects.count() == 1
    assert stock_violations() == []


def test_the_same_reservation_made_by_ten_workers_takes_once():
    services.receive("MUG", 100)

    results = race([partial(services.reserve, "S-1", {"MUG": 2}) for _ in range(10)])

    assert results == [None] * 10
    assert counters("MUG") == (100, 2)


@pytest.mark.parametrize("attempt", range(10))
def test_a_release_that_meets_its_reservation_leaves_nothing_reserved(attempt):
    services.receive("MUG", 5)

    reserved, released = race([partial(services.reserve, "S-1", {"MUG": 2}), partial(services.release, "S-1")])

    assert reserved is None or isinstance(reserved, AlreadyReleased)
    assert released is None
    assert counters("MUG") == (5, 0)
    assert Reservation.objects.get().status == "RELEASED"
    assert stock_violations() == []


def test_a_release_and_a_commit_at_once_have_one_winner():
    services.receive("MUG", 5)
    services.reserve("S-1", {"MUG": 2})

    committed, released = race([partial(services.commit, "S-1"), partial(services.release, "S-1")])

    if committed is None:
        assert isinstance(released, AlreadyCommitted)
        assert counters("MUG") == (3, 0)
    else:
        assert isinstance(committed, AlreadyReleased)
        assert counters("MUG") == (5, 0)
    assert stock_violations() == []


def test_carts_with_the_same_goods_in_opposite_order_do_not_deadlock():
    services.receive("A", 1000)
    services.receive("B", 1000)
    order = [{"A": 1, "B": 1}, {"B": 1, "A": 1}]

    def shop(buyer):
        for n in range(25):
            services.reserve(f"S-{buyer}-{n}", order[(buyer + n) % 2])
            (services.commit if random.random() < 0.5 else services.release)(f"S-{buyer}-{n}")

    results = race([partial(shop, buyer) for buyer in range(8)])

    assert results == [None] * 8
    assert Reservation.objects.exclude(status="HELD").count() == 200
    assert stock_violations() == []
