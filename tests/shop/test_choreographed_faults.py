"""The checkout carried by events when workers die, meet, and hear of things late, twice and out of order."""

import random

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.selectors import available
from sagas.attempts import Call
from sagas.choreography.broker import deliver
from sagas.choreography.models import OutboxEvent
from sagas.choreography.outbox import as_event
from sagas.driver import drain_due
from sagas.engine import record, work
from sagas.models import SagaInstance
from shop.models import Order, Product
from tests.racing import race
from tests.sagas.choreography.killing import killed_at, points_of
from tests.sandbox.processes import SandboxProcess
from tests.shop.books import how_it_ended
from tests.shop.flowing import FORWARD, choreographed, nothing_is_wrong, settle, told
from tests.shop.shopping import place
from tests.thinning import FULL, SEED

pytestmark = pytest.mark.django_db(transaction=True)


def end_leases() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_sagastep SET due_at = clock_timestamp() WHERE token > 0")
        cursor.execute(
            "UPDATE sagas_sagainstance SET wake_at = clock_timestamp() WHERE id IN"
            " (SELECT saga_id FROM sagas_sagastep WHERE token > 0)"
        )


def test_a_worker_killed_anywhere_leaves_money_stock_and_parcel_right(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    """On the way forward, and on the way back from the parcel; a share of the places, drawn with a seed."""
    for refuse in (False, True):

        def story(refuse: bool = refuse) -> None:
            if refuse:
                carrier.control(fault="decline", operation="buy", times=-1)
            choreographed()
            drain_due(20)

        places = points_of(story)
        assert len(places) > 60, places
        settle()
        how = "untouched" if refuse else "bought"
        assert how_it_ended(Order.objects.get(), bank, carrier) == how
        most = len(places) if FULL else 5
        for place_of_death in random.Random(SEED).sample(places, most):
            empty(bank, carrier)
            assert killed_at(place_of_death, story), place_of_death
            if not Order.objects.exists():
                continue
            end_leases()
            settle()
            said = f"{place_of_death}, VERIFY_SEED={SEED}"
            assert how_it_ended(Order.objects.get(), bank, carrier) == how, said
            assert nothing_is_wrong(), said
        empty(bank, carrier)


def empty(bank: SandboxProcess, carrier: SandboxProcess) -> None:
    """As before the first order: ten mugs, no faults."""
    bank.control(fault="reset")
    carrier.control(fault="reset")
    with connection.cursor() as cursor:
        cursor.execute("""
            SET session_replication_role = replica;
            DELETE FROM shop_orderline; DELETE FROM shop_order; DELETE FROM payments_payment;
            DELETE FROM shipping_shipment; DELETE FROM inventory_reservationline; DELETE FROM inventory_reservation;
            DELETE FROM inventory_stockmovement WHERE kind <> 'RECEIVED'; DELETE FROM sagas_outboxevent;
            DELETE FROM sagas_signal; DELETE FROM sagas_semanticlock; DELETE FROM sagas_lockwaiter;
            DELETE FROM sagas_sagastep; DELETE FROM sagas_stepattempt; DELETE FROM sagas_sagaevent;
            DELETE FROM sagas_sagainstance; UPDATE inventory_stockitem SET on_hand = 10, reserved = 0;
            SET session_replication_role = origin;
        """)


def test_two_workers_at_once_carry_out_every_order_once(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    orders = [place(("MUG", 1), mode="choreographed") for _ in range(4)]

    race([lambda: drain_due(20), lambda: drain_due(20)])
    settle()

    for order in orders:
        order.refresh_from_db()
        assert (order.status, told(order)) == ("confirmed", FORWARD)
    assert available(["MUG"]) == {"MUG": 6}
    assert nothing_is_wrong()


@given(st.data())
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_events_that_are_doubled_late_and_out_of_order_change_nothing(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess, data: st.DataObject
) -> None:
    empty(bank, carrier)
    if refuse := data.draw(st.booleans(), label="the carrier refuses"):
        carrier.control(fault="decline", operation="buy")
    order = choreographed()
    for _ in range(data.draw(st.integers(5, 25), label="moves")):
        sagas = list(SagaInstance.objects.filter(wake_at__isnull=False).order_by("id"))
        events = list(OutboxEvent.objects.order_by("id"))
        chosen = data.draw(st.sampled_from([*events, *sagas]) if sagas else st.sampled_from(events), label="next")
        if isinstance(chosen, OutboxEvent):
            with transaction.atomic():
                deliver(as_event(chosen))
        elif isinstance(call := work(chosen.pk), Call):
            outcome = call.make()
            for _ in range(data.draw(st.integers(1, 2), label="recorded")):
                record(call, outcome)
    settle()

    assert how_it_ended(order, bank, carrier) == ("untouched" if refuse else "bought")
    assert len(told(order)) == len(set(told(order)))
    assert nothing_is_wrong()
