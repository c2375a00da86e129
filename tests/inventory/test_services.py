import pytest
from django.db import DatabaseError, IntegrityError, transaction

from inventory import services
from inventory.exceptions import (
    AlreadyCommitted,
    AlreadyReleased,
    OutOfStock,
    ReservationMismatch,
    ReturnExceedsSale,
    UnknownReservation,
    UnknownSku,
)
from inventory.models import Reservation, StockItem, StockMovement
from inventory.selectors import StockViolation, available, stock_violations

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def stock():
    services.receive("MUG", 10, "first delivery")
    services.receive("TEA", 3)
    yield
    assert stock_violations() == []


def counters(sku):
    return StockItem.objects.values_list("on_hand", "reserved").get(sku=sku)


def test_a_delivery_adds_to_the_shelf_and_to_the_ledger():
    services.receive("MUG", 5, "second delivery")

    assert counters("MUG") == (15, 0)
    assert list(StockMovement.objects.filter(item="MUG").values_list("kind", "delta", "note")) == [
        ("RECEIVED", 5, "second delivery"),
        ("RECEIVED", 10, "first delivery"),
    ]


def test_a_reservation_takes_from_what_is_available_and_leaves_the_shelf():
    services.reserve("S-1", {"MUG": 4, "TEA": 3})

    assert counters("MUG") == (10, 4)
    assert counters("TEA") == (3, 3)
    assert available(["MUG", "TEA", "NONE"]) == {"MUG": 6, "TEA": 0, "NONE": 0}


def test_a_second_call_with_the_same_reference_reserves_nothing_more():
    services.reserve("S-1", {"MUG": 4, "TEA": 3})
    services.reserve("S-1", {"TEA": 3, "MUG": 4})

    assert counters("MUG") == (10, 4)


def test_the_same_reference_for_other_goods_is_refused():
    services.reserve("S-1", {"MUG": 4})

    with pytest.raises(ReservationMismatch):
        services.reserve("S-1", {"MUG": 5})

    assert counters("MUG") == (10, 4)


def test_one_line_too_many_reserves_none_of_the_lines_even_when_the_caller_goes_on():
    with transaction.atomic():
        with pytest.raises(OutOfStock) as refusal:
            services.reserve("S-1", {"MUG": 4, "TEA": 4})
        services.reserve("S-2", {"MUG": 1})

    assert (refusal.value.sku, refusal.value.wanted, refusal.value.available) == ("TEA", 4, 3)
    assert counters("MUG") == (10, 1)
    assert not Reservation.objects.filter(reference="S-1").exists()


def test_an_unknown_sku_is_refused_and_nothing_is_taken():
    with pytest.raises(UnknownSku) as refusal:
        services.reserve("S-1", {"MUG": 1, "NONE": 1})

    assert refusal.value.sku == "NONE"
    assert counters("MUG") == (10, 0)


@pytest.mark.parametrize("lines", [{}, {"MUG": 0}, {"MUG": -1}, {"MUG": 1_000_001}, {"": 1}])
def test_a_quantity_out_of_bounds_is_a_mistake_of_the_caller(lines):
    with pytest.raises(ValueError, match=r"quantity|at least one"):
        services.reserve("S-1", lines)

    assert not Reservation.objects.exists()


def test_a_release_gives_back_once():
    services.reserve("S-1", {"MUG": 4})

    services.release("S-1")
    services.release("S-1")

    assert counters("MUG") == (10, 0)
    assert Reservation.objects.get(reference="S-1").status == "RELEASED"


def test_a_release_before_the_reservation_leaves_a_tombstone_that_refuses_it():
    services.release("S-1")

    with pytest.raises(AlreadyReleased):
        services.reserve("S-1", {"MUG": 4})

    assert counters("MUG") == (10, 0)


def test_a_commit_moves_the_goods_out_once():
    services.reserve("S-1", {"MUG": 4, "TEA": 1})

    services.commit("S-1")
    services.commit("S-1")

    assert counters("MUG") == (6, 0)
    assert list(
        StockMovement.objects.filter(reference="S-1").order_by("item").values_list("item", "kind", "delta")
    ) == [("MUG", "SHIPPED", -4), ("TEA", "SHIPPED", -1)]


def test_what_was_committed_cannot_be_released():
    services.reserve("S-1", {"MUG": 4})
    services.commit("S-1")

    with pytest.raises(AlreadyCommitted):
        services.release("S-1")

    assert counters("MUG") == (6, 0)


def test_what_was_released_cannot_be_committed():
    services.release("S-1")

    with pytest.raises(AlreadyReleased):
        services.commit("S-1")


def test_what_was_never_reserved_cannot_be_committed():
    with pytest.raises(UnknownReservation):
        services.commit("S-1")


def test_a_return_comes_back_once_for_each_return_reference():
    services.reserve("S-1", {"MUG": 4})
    services.commit("S-1")

    services.restock("S-1", {"MUG": 3}, return_reference="R-1")
    services.restock("S-1", {"MUG": 3}, return_reference="R-1")

    assert counters("MUG") == (9, 0)


def test_no_more_comes_back_than_left():
    services.reserve("S-1", {"MUG": 4})
    services.commit("S-1")
    services.restock("S-1", {"MUG": 3}, return_reference="R-1")

    with pytest.raises(ReturnExceedsSale):
        services.restock("S-1", {"MUG": 2}, return_reference="R-2")

    assert counters("MUG") == (9, 0)


def test_a_write_off_takes_only_what_nobody_was_promised():
    services.reserve("S-1", {"MUG": 8})

    with pytest.raises(OutOfStock):
        services.write_off("MUG", 3, "broken")
    services.write_off("MUG", 2, "broken")

    assert counters("MUG") == (8, 8)


@pytest.mark.parametrize("columns", [{"reserved": 11}, {"reserved": -1}, {"on_hand": -1}])
def test_the_database_refuses_counters_that_cannot_be(columns):
    with pytest.raises(IntegrityError), transaction.atomic():
        StockItem.objects.filter(sku="MUG").update(**columns)


def test_the_ledger_refuses_to_be_changed_or_deleted():
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        StockMovement.objects.filter(item="MUG").update(delta=1)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        StockMovement.objects.filter(item="MUG").delete()


def test_the_invariants_name_the_item_whose_figures_disagree():
    services.reserve("S-1", {"MUG": 4})
    StockItem.objects.filter(sku="MUG").update(reserved=3, on_hand=9)

    assert stock_violations() == [
        StockViolation("on_hand is the sum of the ledger", "MUG", 9, 10),
        StockViolation("reserved is the sum of the held reservations", "MUG", 3, 4),
    ]
    StockItem.objects.filter(sku="MUG").update(reserved=4, on_hand=10)


def test_rows_are_locked_in_sku_order_whatever_the_order_of_the_cart(django_assert_num_queries):
    with django_assert_num_queries(5) as queries:
        services.reserve("S-1", {"TEA": 1, "MUG": 1})

    locks = [query["sql"] for query in queries.captured_queries if "FOR NO KEY UPDATE" in query["sql"]]
    assert len(locks) == 1
    assert 'ORDER BY "inventory_stockitem"."sku" ASC FOR NO KEY UPDATE' in locks[0]
