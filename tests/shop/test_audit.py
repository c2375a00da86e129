"""The auditor on the real shop: nothing is wrong in a healthy run, and each rule goes red when its rows are broken."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils.timezone import now

from inventory.models import Reservation
from payments import services as payments
from payments.models import GatewayEvent, Refund
from sagas.attempts import Call
from sagas.audit import Rule, Scope, audit, check
from sagas.driver import drain_due
from sagas.engine import record, work
from sagas.lifecycle import purge
from sagas.models import SagaInstance
from sagas.monitoring import tally
from sagas.operations import Request, abandon
from sagas.periodic import registry as periodic_jobs
from shop import audit as shop_audit
from shop.after_sales import ask_to_cancel, ask_to_return, inspect_return, parcel_came_back
from shop.models import Order, Product
from shop.services import follow_parcel
from tests.sandbox.processes import SandboxProcess
from tests.shop.shopping import place

pytestmark = pytest.mark.django_db(transaction=True)

RULES = {name: rule for name, rule in vars(shop_audit).items() if isinstance(rule, Rule)}
DECLINED = "pm_card_chargeDeclined"


@pytest.fixture
def orders(mug: Product, kettle: Product, bank: SandboxProcess, carrier: SandboxProcess) -> dict[str, Order]:
    """One confirmed, one whose card was declined, one undone from its parcel on, one at its reservation."""
    orders = {"confirmed": place(("MUG", 2), ("KETTLE", 1)), "declined": place(("MUG", 1), payment_method=DECLINED)}
    drain_due(20)
    orders["undone"] = place(("MUG", 1))
    turn_back_with_a_parcel(orders["undone"])
    drain_due(20)
    orders["returned"] = place(("MUG", 1))
    drain_due(20)
    bring_back(orders["returned"])
    drain_due(20)
    orders["by events"] = place(("MUG", 1), mode="choreographed")
    drain_due(20)
    orders["pending"] = place(("KETTLE", 1))
    while not Reservation.objects.filter(reference=orders["pending"].number).exists():
        work(saga_of(orders["pending"]).pk)
    for order in orders.values():
        order.refresh_from_db()
    assert [order.status for order in orders.values()] == [
        "confirmed",
        "cancelled",
        "cancelled",
        "returned",
        "confirmed",
        "pending",
    ]
    return orders


def saga_of(order: Order) -> SagaInstance:
    return SagaInstance.objects.get(definition__in=shop_audit.CHECKOUTS, business_key=order.number)


def move(saga: SagaInstance) -> None:
    """One commit, or the two round a call; the audit finds nothing after either."""
    done = work(saga.pk)
    assert list(check(Scope())) == []
    if isinstance(done, Call):
        record(done, done.make())
        assert list(check(Scope())) == []
    saga.refresh_from_db()


def turn_back_with_a_parcel(order: Order) -> None:
    """Let the deadline pass between the booking and the payment."""
    saga = saga_of(order)
    while not saga.steps.filter(name="book_shipment", action="SUCCEEDED").exists():
        move(saga)
    SagaInstance.objects.filter(pk=saga.pk).update(deadline_at=now(), wake_at=now())


def bring_back(order: Order) -> SagaInstance:
    """Have a parcel delivered, returned and accepted."""
    follow_parcel(order.number, "delivered")
    asked = ask_to_return(order.number)
    parcel_came_back(order.number, told_by="the test")
    inspect_return(order.number, accepted=True, by="the test")
    return SagaInstance.objects.get(pk=asked.saga_id)


def saga_that_cancels(order: Order) -> SagaInstance:
    return SagaInstance.objects.get(pk=ask_to_cancel(order.number).saga_id)


def purge_all_that_ended() -> None:
    """Also what ended less than a second ago, and after the effects their causes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "A_COMMIT", timedelta())
        while purge(after=timedelta(), touched_after=timedelta()):
            pass


def execute(sql: str, number: str) -> None:
    with connection.cursor() as cursor:
        for statement in filter(str.strip, sql.split(";")):
            cursor.execute(statement, {"number": number})
            assert cursor.rowcount != 0, f"it broke nothing: {statement}"


def found_after(sql: str, number: str) -> set[tuple[str, Any]]:
    """What the audit finds in a transaction that breaks the rows and is rolled back."""
    with transaction.atomic():
        # The saga that holds a pending order, so that the database lets the rows be broken.
        execute(
            "SELECT set_config('sagas.holder', id::text, true) FROM sagas_sagainstance "
            "WHERE definition IN ('shop.checkout', 'shop.choreographed_checkout') AND business_key = %(number)s",
            number,
        )
        execute(sql, number)
        found = {(violation.rule, violation.saga) for violation in check(Scope())}
        transaction.set_rollback(True)
    return found


NO_CHECKOUT = "UPDATE sagas_sagainstance SET business_key = 'elsewhere' WHERE business_key = %(number)s"
ORDER = "UPDATE shop_order SET status = '{}' WHERE number = %(number)s"
CANCEL = "UPDATE shop_order SET status = 'cancelled', cancelled_at = now() WHERE number = %(number)s"
PAYMENT = "UPDATE payments_payment SET {} WHERE reference = %(number)s"
SHIPMENT = "UPDATE shipping_shipment SET {} WHERE reference = %(number)s"
RESERVATION = "UPDATE inventory_reservation SET {} WHERE reference = %(number)s"
HELD = RESERVATION.format("status = 'HELD', settled_at = NULL")
CAPTURED = PAYMENT.format(
    "status = 'CAPTURED', authorized_amount = amount, captured_amount = amount, refunded_amount = 0"
)
LOSE_LINES = """
    DELETE FROM inventory_reservationline
     WHERE reservation_id = (SELECT id FROM inventory_reservation WHERE reference = %(number)s) AND sku = 'MUG'
"""
LOSE_GOODS = """
    INSERT INTO inventory_stockmovement (sku, kind, delta, reference, return_reference, note, created_at)
    VALUES ('KETTLE', 'SHIPPED', -1, %(number)s, '', '', now())
"""
TOLD = "FROM sagas_outboxevent WHERE subject = %(number)s"
TOLD_TWICE = f"""
    INSERT INTO sagas_outboxevent (event_id, type, source, subject, time, data, correlation_id, attempts, error)
    SELECT gen_random_uuid(), 'shop.order_cancelled', source, subject, time, data, correlation_id, 0, '' {TOLD} LIMIT 1
"""

# (rule, whose rows are broken, how)
BREAKS = [
    ("PENDING_ORDERS_ARE_BEING_CHECKED_OUT", "pending", NO_CHECKOUT),
    ("PENDING_ORDERS_ARE_BEING_CHECKED_OUT", "confirmed", ORDER.format("pending")),
    ("THE_CHECKOUT_DECIDES_THE_STATUS", "confirmed", ORDER.format("pending")),
    ("THE_CHECKOUT_DECIDES_THE_STATUS", "undone", ORDER.format("confirmed', cancelled_at = NULL, cancel_reason = '")),
    ("THE_CHECKOUT_DECIDES_THE_STATUS", "pending", ORDER.format("confirmed")),
    ("THE_CHECKOUT_DECIDES_THE_STATUS", "pending", CANCEL),
    ("CONFIRMED_ORDERS_ARE_PAID_IN_FULL", "confirmed", PAYMENT.format("captured_amount = captured_amount - 1")),
    ("CONFIRMED_ORDERS_ARE_PAID_IN_FULL", "confirmed", PAYMENT.format("refunded_amount = 1")),
    ("CONFIRMED_ORDERS_ARE_PAID_IN_FULL", "confirmed", PAYMENT.format("currency = 'SEK'")),
    ("CONFIRMED_ORDERS_ARE_PAID_IN_FULL", "confirmed", "DELETE FROM payments_payment WHERE reference = %(number)s"),
    ("CONFIRMED_ORDERS_HAVE_THEIR_GOODS", "confirmed", HELD),
    ("CONFIRMED_ORDERS_HAVE_THEIR_GOODS", "confirmed", LOSE_LINES),
    ("CONFIRMED_ORDERS_HAVE_A_PARCEL", "confirmed", SHIPMENT.format("status = 'CANCELLED'")),
    ("CONFIRMED_ORDERS_HAVE_A_PARCEL", "confirmed", "DELETE FROM shipping_shipment WHERE reference = %(number)s"),
    ("CANCELLED_ORDERS_HOLD_NO_MONEY", "undone", PAYMENT.format("status = 'AUTHORIZED', authorized_amount = amount")),
    ("CANCELLED_ORDERS_HOLD_NO_MONEY", "undone", PAYMENT.format("status = 'UNKNOWN'")),
    ("CANCELLED_ORDERS_HOLD_NO_MONEY", "undone", CAPTURED),
    ("CANCELLED_ORDERS_HOLD_NO_GOODS", "undone", HELD),
    ("CANCELLED_ORDERS_HOLD_NO_GOODS", "confirmed", CANCEL),
    ("CANCELLED_ORDERS_HAVE_NO_PARCEL", "undone", SHIPMENT.format("status = 'BOOKED'")),
    ("CANCELLED_ORDERS_HAVE_NO_PARCEL", "undone", SHIPMENT.format("status = 'UNKNOWN'")),
    ("RETURNED_ORDERS_ARE_PAID_BACK", "returned", PAYMENT.format("refunded_amount = 0")),
    ("RETURNED_ORDERS_ARE_PAID_BACK", "returned", LOSE_GOODS),
    ("RETURNED_ORDERS_ARE_PAID_BACK", "returned", PAYMENT.format("reference = 'nobody'")),
    ("A_RESERVATION_IS_WHERE_ITS_STEPS_ARE", "confirmed", RESERVATION.format("status = 'RELEASED'")),
    ("A_RESERVATION_IS_WHERE_ITS_STEPS_ARE", "undone", RESERVATION.format("status = 'COMMITTED'")),
    ("A_RESERVATION_IS_WHERE_ITS_STEPS_ARE", "pending", RESERVATION.format("status = 'RELEASED', settled_at = now()")),
    ("A_RESERVATION_IS_WHERE_ITS_EVENTS_ARE", "by events", RESERVATION.format("status = 'RELEASED'")),
    ("A_RESERVATION_IS_WHERE_ITS_EVENTS_ARE", "by events", RESERVATION.format("reference = 'elsewhere'")),
    ("THE_END_OF_A_FLOW_IS_TOLD", "by events", f"DELETE {TOLD} AND type = 'shop.order_confirmed'"),
    ("THE_END_OF_A_FLOW_IS_TOLD", "by events", TOLD_TWICE),
    ("PENDING_ORDERS_ARE_BEING_CHECKED_OUT", "by events", ORDER.format("pending")),
    ("GOODS_ARE_HELD_FOR_LIVE_CHECKOUTS_ONLY", "by events", HELD),
    ("GOODS_ARE_HELD_FOR_LIVE_CHECKOUTS_ONLY", "undone", HELD),
    ("MONEY_TAKEN_IS_WHAT_CONFIRMED_ORDERS_COST", "confirmed", PAYMENT.format("refunded_amount = 1")),
    ("MONEY_TAKEN_IS_WHAT_CONFIRMED_ORDERS_COST", "undone", CAPTURED),
    ("MONEY_TAKEN_IS_WHAT_CONFIRMED_ORDERS_COST", "returned", PAYMENT.format("refunded_amount = 0")),
    ("EVERYTHING_BELONGS_TO_AN_ORDER", "undone", PAYMENT.format("reference = 'nobody'")),
    ("EVERYTHING_BELONGS_TO_AN_ORDER", "undone", RESERVATION.format("reference = 'nobody'")),
    ("EVERYTHING_BELONGS_TO_AN_ORDER", "undone", SHIPMENT.format("reference = 'nobody'")),
]
WITHOUT_A_SAGA = {"MONEY_TAKEN_IS_WHAT_CONFIRMED_ORDERS_COST", "EVERYTHING_BELONGS_TO_AN_ORDER"}


def test_each_rule_goes_red_when_its_rows_are_broken(orders: dict[str, Order], subtests: Any) -> None:
    assert list(check(Scope())) == []
    for rule, whose, sql in BREAKS:
        with subtests.test(rule=rule, sql=sql):
            saga = None if rule in WITHOUT_A_SAGA or sql == NO_CHECKOUT else saga_of(orders[whose]).pk

            found = found_after(sql, orders[whose].number)

            assert (RULES[rule].sentence, saga) in found
    assert list(check(Scope())) == []


def test_every_rule_is_broken_once_above() -> None:
    assert {name for name, _, _ in BREAKS} == set(RULES)
    assert set(RULES.values()) == {*shop_audit.RULES, *shop_audit.TOTALS}


def test_the_books_of_the_participants_are_audited_with_the_saga_of_their_reference(orders: dict[str, Order]) -> None:
    order = orders["confirmed"]

    stock = found_after("UPDATE inventory_stockitem SET on_hand = on_hand + 1 WHERE sku = 'MUG'", order.number)
    money = found_after(PAYMENT.format("captured_amount = captured_amount - 1"), order.number)

    assert ("Stock: on_hand is the sum of the ledger.", None) in stock
    assert ("Money: all of the amount was captured.", saga_of(order).pk) in money


# --- healthy --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["confirmed", "declined", "too late"])
def test_nothing_is_wrong_at_any_commit_of_a_checkout(
    ending: str, mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    order = place(("MUG", 2), payment_method=DECLINED if ending == "declined" else "pm_card_visa")
    saga, moves = saga_of(order), 0
    if ending == "too late":
        turn_back_with_a_parcel(order)

    while saga.ended_at is None:
        move(saga)
        moves += 1

    order.refresh_from_db()
    assert order.status == ("confirmed" if ending == "confirmed" else "cancelled")
    assert moves >= 4


@pytest.mark.parametrize("wish", ["cancelled", "returned"])
def test_nothing_is_wrong_at_any_commit_of_a_cancellation_and_of_a_return(
    wish: str, mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    order = place(("MUG", 2))
    drain_due(20)
    saga = bring_back(order) if wish == "returned" else saga_that_cancels(order)

    while saga.ended_at is None:
        move(saga)

    order.refresh_from_db()
    assert (saga.status, order.status) == ("COMPLETED", wish)
    assert audit().violations == ()


def test_the_audit_of_late_finds_the_order_of_a_later_saga(orders: dict[str, Order]) -> None:
    """The checkout ended long ago, the return just now; its key need not be the order's number."""
    order = orders["returned"]
    SagaInstance.objects.filter(definition="shop.checkout").update(ended_at=now() - timedelta(days=2))
    SagaInstance.objects.filter(definition="shop.return").update(business_key=f"{order.number}-2")
    execute(PAYMENT.format("refunded_amount = 0"), order.number)

    found = {(violation.rule, violation.saga) for violation in check(Scope(now() - timedelta(minutes=1)))}

    assert found == {(RULES["RETURNED_ORDERS_ARE_PAID_BACK"].sentence, saga_of(order).pk)}


def test_the_audit_of_late_finds_money_that_the_bank_could_not_give_back(orders: dict[str, Order]) -> None:
    """All sagas of the order ended days ago; so long it can take a bank to tell."""
    order = orders["returned"]
    SagaInstance.objects.filter(ended_at__isnull=False).update(ended_at=now() - timedelta(days=2))
    refund = Refund.objects.get(payment__reference=order.number)
    told = {"id": refund.refund_id, "amount": refund.amount, "status": "failed"}
    told |= {"metadata": {"refund_reference": refund.refund_reference}}
    payload = json.dumps({"data": {"object": told}})
    GatewayEvent.objects.create(event_id="evt_failed", kind="refund.failed", payload=payload)
    lately = Scope(now() - timedelta(minutes=1))
    assert list(check(lately)) == []

    payments.apply_pending_events()

    found = {(violation.rule, violation.saga) for violation in check(lately)}
    assert found == {(RULES["RETURNED_ORDERS_ARE_PAID_BACK"].sentence, saga_of(order).pk)}


def test_an_order_that_is_on_its_way_is_healthy(orders: dict[str, Order]) -> None:
    follow_parcel(orders["confirmed"].number, "delivered")

    assert Order.objects.get(pk=orders["confirmed"].pk).status == "delivered"
    assert audit().violations == ()


def test_an_order_whose_checkout_was_abandoned_stays_healthy_however_often_is_purged(
    orders: dict[str, Order], django_user_model: type[User]
) -> None:
    saga = saga_of(orders["pending"])
    abandon(saga.pk, Request(uuid4(), django_user_model.objects.create_superuser("grace"), "a test", saga.version))

    purge_all_that_ended()

    assert list(SagaInstance.objects.values_list("pk", "status")) == [(saga.pk, "ABANDONED")]
    orders["pending"].refresh_from_db()
    assert orders["pending"].status == "pending"
    assert list(check(Scope())) == []
    # That is because of its saga.
    assert found_after(NO_CHECKOUT, orders["pending"].number) != set()


def test_orders_whose_sagas_were_purged_are_healthy(orders: dict[str, Order]) -> None:
    purge_all_that_ended()

    assert [saga.business_key for saga in SagaInstance.objects.all()] == [orders["pending"].number]
    assert audit().violations == ()


def test_an_order_that_turned_back_while_the_carrier_was_down_is_healthy(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    """Its booking FAILED without effect; cancelling the order closes the intent that was never answered."""
    carrier.control(fault="down", times=-1)
    order = place(("MUG", 1))
    drain_due(20)
    SagaInstance.objects.update(deadline_at=now(), wake_at=now())
    drain_due(20)

    order.refresh_from_db()
    assert (order.status, saga_of(order).status) == ("cancelled", "COMPENSATED")
    assert audit().violations == ()


def test_an_order_that_a_saga_holds_is_not_reported(orders: dict[str, Order]) -> None:
    """A saga that changes a confirmed order is on its way, so what is true at rest need not be true."""
    holder = """
        INSERT INTO sagas_semanticlock (resource_type, resource_id, saga_id, taken_at)
        SELECT 'shop.order', %(number)s, id, now() FROM sagas_sagainstance WHERE status = 'RUNNING' LIMIT 1
    """
    refunded = PAYMENT.format("refunded_amount = 1")

    at_rest = {rule for rule, _ in found_after(refunded, orders["confirmed"].number)}
    held = {rule for rule, _ in found_after(f"{refunded};{holder}", orders["confirmed"].number)}

    assert RULES["CONFIRMED_ORDERS_ARE_PAID_IN_FULL"].sentence in at_rest - held
    assert RULES["MONEY_TAKEN_IS_WHAT_CONFIRMED_ORDERS_COST"].sentence in at_rest - held


def test_webhooks_and_the_audit_are_seen_to_periodically() -> None:
    periods = {job.name: job.every.total_seconds() for job in periodic_jobs}

    assert periods["shop.news.apply_payment_news"] == 30
    assert periods["shop.news.apply_shipment_news"] == 30
    assert periods["sagas.audit.audit_lately"] == 60
    assert periods["sagas.audit.audit_everything"] == 24 * 3600
