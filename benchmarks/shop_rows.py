"""One order of the shop with all that the lists show of it, and a million copies. Django has to be set up."""

from django.db import models
from django.utils.timezone import now

from benchmarks.filling import Copy, copy
from inventory.models import Reservation, ReservationLine, StockItem, StockMovement
from payments.models import GatewayEvent, Payment, Refund
from shipping.models import Shipment, TrackingEvent
from shop.models import IdempotencyKey, Order, OrderLine

AMOUNT = 1_999


def fill(rows: int) -> None:
    """As after ``rows`` orders, of which each was paid for, shipped and told about by webhooks."""
    order = Order.objects.create(
        number="TEMPLATE", email="ada@example.org", status="delivered", currency="EUR", total_amount=AMOUNT,
        ship_name="Ada", ship_line1="12 Square", ship_city="Dublin", ship_postal_code="D02", ship_country="IE",
        payment_method="pm", access_token_hash="", confirmed_at=now(),
    )  # fmt: skip
    OrderLine.objects.create(
        order=order, sku="MUG-1", name="Mug", quantity=1, unit_amount=AMOUNT, currency="EUR", weight_grams=300
    )
    key = IdempotencyKey.objects.create(caller="guest", operation="POST /", key="key", fingerprint="f", order=order)
    item = StockItem.objects.create(sku="MUG-1", on_hand=1_000_000_000)
    reservation = Reservation.objects.create(reference="TEMPLATE", status="COMMITTED", settled_at=now())
    line = ReservationLine.objects.create(reservation=reservation, item=item, quantity=1)
    movement = StockMovement.objects.create(item=item, kind="SHIPPED", delta=-1, reference="TEMPLATE")
    payment = Payment.objects.create(
        reference="TEMPLATE", status="CAPTURED", amount=AMOUNT, currency="EUR", intent_id="template",
        authorized_amount=AMOUNT, captured_amount=AMOUNT,
    )  # fmt: skip
    refund = Refund.objects.create(payment=payment, refund_reference="T", status="SUCCEEDED", amount=1, refund_id="T")
    event = GatewayEvent.objects.create(event_id="T", kind="payment.captured", payload="{}", status="APPLIED")
    shipment = Shipment.objects.create(
        reference="TEMPLATE", status="BOOKED", weight_grams=300, shipment_id="T", tracking_code="T",
        tracking_status="delivered",
    )  # fmt: skip
    tracked = TrackingEvent.objects.create(event_id="T", tracking_code="T", payload="{}", status="APPLIED")

    def of(row: models.Model, **new: str) -> Copy:
        return Copy(row._meta.db_table, row._meta.pk.attname, row.pk, new, rows)

    referred = {"reference": "g.key", "created_at": "g.at"}
    copy(
        [
            of(order, number="g.key", created_at="g.at", confirmed_at="g.at"),
            of(key, id="g.id", key="md5(g.key)", created_at="g.at"),
            of(reservation, **referred, settled_at="g.at"),
            of(movement, **referred),
            of(payment, **referred, intent_id="g.key", updated_at="g.at"),
            of(event, event_id="g.key", reference="g.key", received_at="g.at"),
            of(shipment, **referred, shipment_id="g.key", tracking_code="g.key", updated_at="g.at"),
            of(tracked, event_id="g.key", tracking_code="g.key", received_at="g.at"),
        ]
    )
    # What hangs on another row is found by its number, which both were given in the same order.
    first = {row: f"g.n + {row.pk}" for row in (order, payment, reservation)}
    copy(
        [
            of(OrderLine.objects.get(), order_id=first[order]),
            of(line, reservation_id=first[reservation]),
            of(refund, payment_id=first[payment], refund_reference="g.key", refund_id="g.key", updated_at="g.at"),
        ]
    )
