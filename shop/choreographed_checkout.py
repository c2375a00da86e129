"""The checkout without anybody who directs it: each service reacts to the events of the others.

What is left of a saga here is the order's own: it holds the order, and waits until the flow has ended.
"""

from dataclasses import dataclass

from sagas.choreography.services import Flow, Station, declare, latest, publish
from sagas.definition import Await, Begin, Context, NoCompensation, OnTimeout, Retry, Saga, minutes
from sagas.outcomes import Refused
from sagas.services import start
from shop import services as shop
from shop.checkout import CheckoutData, order_lock
from shop.events import OrderCancelled, OrderConfirmed, OrderPlaced
from shop.models import Order, OrderLine
from shop.selectors import CHOREOGRAPHED
from shop.services import place_order
from shop.wording import why_cancelled

# A bank that is down is tried for half an hour; a flow in which nothing at all happens is looked at sooner.
QUIET = minutes(10)

Ctx = Context[CheckoutData]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the flow ended; without a ``code`` it ended well."""

    code: str = ""
    message: str = ""


def cancel_order(ctx: Ctx, receipt: None) -> None:
    """Every service has given back what it had: the first no is why."""
    number = ctx.data.order_number
    code = ctx.failure.code if ctx.failure else ""
    shop.cancel_order(number, why_cancelled(code))
    publish(OrderCancelled(code), subject=number, cause=latest(number))


def confirm_order(ctx: Ctx, outcome: Outcome) -> None:
    """The last station, or the way back."""
    if outcome.code:
        raise Refused(outcome.code, outcome.message)
    number = ctx.data.order_number
    shop.confirm_order(number)
    publish(OrderConfirmed(), subject=number, cause=latest(number))


class ChoreographedCheckout(Saga[CheckoutData]):
    name, version = CHOREOGRAPHED, 1
    locks = (order_lock,)

    steps = (
        Begin(place_order, compensation=cancel_order),
        Await(
            confirm_order,
            within=QUIET,
            on_timeout=OnTimeout.ATTENTION,
            carried_by_others=True,
            no_compensation=NoCompensation.ACCEPT,
            retry=Retry(attempts=1_000),
        ),
    )


checkout_flow = declare(
    Flow(
        saga=ChoreographedCheckout,
        end=confirm_order,
        quiet=QUIET,
        stations=(
            Station("shop.order_placed", undone_by="shop.order_cancelled"),
            Station(
                "inventory.stock_reserved",
                refused_by="inventory.stock_refused",
                undone_by="inventory.stock_released",
            ),
            Station(
                "payments.payment_authorized",
                refused_by="payments.payment_declined",
                undone_by="payments.payment_voided",
            ),
            Station(
                "shipping.shipment_booked",
                refused_by="shipping.shipment_refused",
                undone_by="shipping.shipment_cancelled",
            ),
            Station("payments.payment_captured", refused_by="payments.capture_refused"),
            Station("inventory.stock_taken"),
            Station("shop.order_confirmed"),
        ),
    )
)


def begin_flow(order: Order, lines: list[OrderLine]) -> None:
    """Tell that an order was placed, in the commit that stores it."""
    start(ChoreographedCheckout, CheckoutData(order_number=order.number), key=order.number)
    publish(
        OrderPlaced(
            lines={line.sku: line.quantity for line in lines},
            amount=order.total_amount,
            currency=order.currency,
            payment_method=order.payment_method,
            address={
                "name": order.ship_name,
                "line1": ", ".join(filter(None, (order.ship_line1, order.ship_line2))),
                "city": order.ship_city,
                "postal_code": order.ship_postal_code,
                "country": order.ship_country,
            },
            weight_grams=sum(line.weight_grams * line.quantity for line in lines),
        ),
        subject=order.number,
    )
