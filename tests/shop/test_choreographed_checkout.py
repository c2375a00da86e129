"""The checkout carried by the services' events: every way it can go, over the real sandbox bank and carrier."""

from typing import Any

import pytest
from django.core import mail
from django.db import OperationalError
from django.test import Client

from inventory import services as inventory
from sagas.choreography.models import OutboxEvent
from sagas.choreography.selectors import trace, where_it_stands
from sagas.choreography.subscriptions import subscriptions
from sagas.driver import drain_due
from sagas.hooks import Stake, stake_of
from sagas.models import SagaInstance
from sagas.services import turn_back
from shop.after_sales import ask_to_cancel
from shop.choreographed_checkout import ChoreographedCheckout
from shop.models import Order, Product
from shop.operators_room import HANDLERS
from shop.progress import progress_of
from tests.sandbox.processes import SandboxProcess
from tests.shop.books import how_it_ended, let_time_pass, nothing_moves
from tests.shop.flowing import FORWARD, choreographed, nothing_is_wrong, one_commit, settle, told
from tests.shop.shopping import put_in_cart, submit_checkout

pytestmark = pytest.mark.django_db(transaction=True)


def test_services_that_react_to_each_other_confirm_an_order(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    order = choreographed()
    commits = 0
    while one_commit():
        commits += 1
        assert nothing_is_wrong()

    assert commits > 15
    assert how_it_ended(order, bank, carrier) == "bought"
    assert nothing_moves()
    assert told(order) == FORWARD
    assert [event.depth for event in trace(order.number).events] == list(range(7))
    assert [(m.to, m.subject) for m in mail.outbox] == [([order.email], f"Your order {order.number} is confirmed")]
    assert nothing_is_wrong()


@pytest.mark.parametrize(
    ("fault", "way"),
    [
        ("out_of_stock", ["inventory.stock_refused", "shop.order_cancelled"]),
        ("card_declined", ["payments.payment_declined", "inventory.stock_released", "shop.order_cancelled"]),
        (
            "booking_refused",
            [
                "shipping.shipment_refused",
                "payments.payment_voided",
                "inventory.stock_released",
                "shop.order_cancelled",
            ],
        ),
        (
            "bank_gone",
            [
                "payments.capture_refused",
                "shipping.shipment_cancelled",
                "payments.payment_voided",
                "inventory.stock_released",
                "shop.order_cancelled",
            ],
        ),
    ],
)
def test_each_service_gives_back_what_it_had_on_the_events_of_the_one_behind_it(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess, fault: str, way: list[str]
) -> None:
    changes: dict[str, Any] = {}
    match fault:
        case "card_declined":
            changes["payment_method"] = "pm_card_chargeDeclined"
        case "booking_refused":
            carrier.control(fault="decline", operation="buy")
        case "bank_gone":
            bank.control(fault="down", operation="capture", times=-1)
    order = choreographed(**changes)
    if fault == "out_of_stock":
        inventory.write_off("MUG", 9, "broken")
    if fault == "bank_gone":
        drain_due(5)
        let_time_pass(minutes=40)  # past the time limit of taking the money
        drain_due(5)
        bank.control(fault="reset")
    settle()
    if fault == "out_of_stock":
        inventory.receive("MUG", 9)

    assert how_it_ended(order, bank, carrier) == "untouched"
    assert told(order) == [*FORWARD[: len(way) - 1], *way]
    assert nothing_is_wrong()
    assert mail.outbox == []
    assert SagaInstance.objects.get(definition="shop.choreographed_checkout").status == "COMPENSATED"


@pytest.mark.parametrize(
    ("service", "operation", "fault"),
    [
        ("bank", "confirm", "answer_lost"),
        ("carrier", "buy", "error_after"),
        ("carrier", "buy", "answer_lost"),
        ("bank", "capture", "answer_lost"),
        ("bank", "capture", "down"),
    ],
)
def test_a_remote_call_that_is_in_doubt_is_settled_and_made_once(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess, service: str, operation: str, fault: str
) -> None:
    asked = {"bank": bank, "carrier": carrier}[service]
    asked.control(fault=fault, operation=operation)
    order = choreographed()
    settle()

    assert sum(asked.fired().values()) == 1
    assert how_it_ended(order, bank, carrier) == "bought"
    assert told(order) == FORWARD
    assert nothing_is_wrong()


def test_a_bank_that_stays_away_past_the_deadline_turns_the_flow_back(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    bank.control(fault="error_after", operation="confirm", times=1)
    bank.control(fault="down", times=-1)
    order = choreographed()
    drain_due(5)
    let_time_pass(minutes=40)
    drain_due(5)
    bank.control(fault="reset")
    settle()

    assert told(order)[-3:] == ["payments.payment_declined", "inventory.stock_released", "shop.order_cancelled"]
    assert how_it_ended(order, bank, carrier) == "untouched"
    assert order.cancel_reason == "We could not finish your order in time."
    assert nothing_is_wrong()


def test_a_cancel_waits_for_the_end_of_the_flow_and_then_gives_everything_back(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    order = choreographed()

    asked = ask_to_cancel(order.number, "changed my mind")
    assert (asked.definition, asked.status) == ("shop.cancel_order", "WAITING")
    assert progress_of(order).headline == "We are about to cancel your order"
    assert ask_to_cancel(order.number) == asked
    settle()

    assert told(order) == FORWARD
    assert how_it_ended(order, bank, carrier) == "refunded"
    assert nothing_is_wrong()


def test_a_cancel_of_a_flow_that_comes_to_nothing_changes_nothing(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    order = choreographed(payment_method="pm_card_chargeDeclined")
    ask_to_cancel(order.number)
    settle()

    assert how_it_ended(order, bank, carrier) == "untouched"
    assert order.cancel_reason == "Your bank declined the card."
    assert [m.subject for m in mail.outbox] == [f"Your order {order.number} is cancelled"]
    assert nothing_is_wrong()


def test_nobody_turns_the_order_alone_back(mug: Product) -> None:
    order = choreographed()

    assert not turn_back(ChoreographedCheckout, order.number, why="now")
    assert Order.objects.get().status == "pending"


def test_while_the_flow_is_under_way_nobody_else_changes_the_order(mug: Product, bank: SandboxProcess) -> None:
    order = choreographed()

    with pytest.raises(OperationalError, match="is held by saga"):
        Order.objects.filter(pk=order.pk).update(email="eve@example.org")


def test_a_dead_letter_is_told_to_the_shopper_and_to_operators(mug: Product, bank: SandboxProcess) -> None:
    order = choreographed()
    OutboxEvent.objects.update(data={"lines": {"NO-SUCH-SKU": 1}})
    for _ in range(4):
        drain_due(5)
        let_time_pass(minutes=1)

    letter = SagaInstance.objects.get(status="SUSPENDED")
    assert letter.definition == "inventory.handlers.reserve_stock"
    assert where_it_stands(trace(order.number)).startswith("inventory.handlers.reserve_stock could not handle")
    assert progress_of(order).headline == "Somebody of us is looking after your order"


def test_the_page_follows_the_flow_forward_and_back(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    carrier.control(fault="decline", operation="buy")
    order = choreographed()
    seen = [progress_of(order).headline]
    while one_commit():
        seen.append(progress_of(Order.objects.get()).headline)
    settle()
    order.refresh_from_db()

    assert "We are cancelling your order" in seen
    ended = progress_of(order)
    assert ended.headline == "Your order was cancelled"
    assert ended.detail == "The parcel service does not deliver to this address. Nothing was charged."
    assert [(stage.label, stage.state) for stage in ended.stages] == [
        ("Order received", "done"),
        ("Stock given back", "undone"),
        ("Payment released", "undone"),
        ("Parcel not accepted", "failed"),
    ]


def test_the_setting_decides_for_orders_that_do_not_say(
    client: Client, mug: Product, bank: SandboxProcess, carrier: SandboxProcess, settings: Any
) -> None:
    settings.CHECKOUT_MODE = "choreographed"
    put_in_cart(client, mug, 2)
    response = submit_checkout(client)
    order = Order.objects.get()

    assert order.mode == "choreographed"
    assert client.get(response.url).status_code == 200
    settle()
    page = client.get(response.url).content.decode()
    assert "Your order is confirmed" in page
    assert how_it_ended(order, bank, carrier) == "bought"


def test_the_operators_room_knows_what_is_at_stake_in_every_handler(mug: Product) -> None:
    order = choreographed()
    drain_due(0.01)

    handlers = {name for name in subscriptions if not name.startswith("tests.")}
    assert set(HANDLERS) == handlers
    for saga in SagaInstance.objects.all():
        assert stake_of(saga.definition, 1, saga.data) == Stake(order.total_amount, "39.98 EUR")
