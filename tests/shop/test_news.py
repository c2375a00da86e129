"""News of the carrier that could not be acted on when it came."""

from datetime import UTC, datetime

import pytest

from payments import services as payments
from payments.selectors import payment_of
from sagas.models import SagaInstance
from shipping import services as shipping
from shipping.models import TrackingEvent
from shipping.selectors import shipment_of
from shop.models import Order, Product
from shop.news import apply_shipment_news
from tests.holding import act_for_holder_of
from tests.shop.shopping import place

pytestmark = pytest.mark.django_db


@pytest.fixture
def order(mug: Product) -> Order:
    order = place(("MUG", 1))
    act_for_holder_of(order.number)
    Order.objects.filter(pk=order.pk).update(status="confirmed")
    TrackingEvent.objects.create(
        event_id="evt_1",
        tracking_code="TRACK1",
        tracking_status="in_transit",
        payload="{}",
        status="RECEIVED",
        received_at=datetime.now(UTC),
    )
    return order


def book(order: Order) -> None:
    shipping.open_shipment(order.number, shipping.Address("Ada", "1 St", "Dublin", "D02", "IE"), 600)
    shipping.record_booked(order.number, shipping.Booking("shp_1", "TRACK1", "SandboxPost"))


def status(order: Order) -> str:
    order.refresh_from_db()
    return order.status


def test_news_of_a_parcel_that_was_not_known_yet_moves_the_order_later(order: Order) -> None:
    SagaInstance.objects.all().delete()
    assert apply_shipment_news() == 0
    assert status(order) == "confirmed"

    book(order)

    assert apply_shipment_news() == 1
    assert status(order) == "shipped"
    assert apply_shipment_news() == 0


def test_news_of_an_order_that_a_saga_holds_is_told_again_when_it_is_free(order: Order) -> None:
    book(order)

    assert apply_shipment_news() == 1
    assert status(order) == "confirmed"

    SagaInstance.objects.all().delete()
    assert apply_shipment_news() == 1
    assert status(order) == "shipped"


def test_an_intent_that_was_never_answered_is_closed_and_can_never_be_made(order: Order) -> None:
    number = order.number
    payments.open_payment(number, order.total, "pm_card_visa", key="k")
    shipping.open_shipment(number, shipping.Address("Ada", "1 St", "Dublin", "D02", "IE"), 600)

    payments.close_unanswered(number)
    shipping.close_unanswered(number)

    assert payment_of(number).status == "VOIDED"  # type: ignore[union-attr]
    assert shipment_of(number).status == "CANCELLED"  # type: ignore[union-attr]
    payments.close_unanswered("S-NONE")
    shipping.close_unanswered("S-NONE")
