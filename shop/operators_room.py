"""What the operator's room is told of the shop's sagas: what is at stake, what came from outside, who can be called."""

from functools import partial
from typing import Any

import redis

from circuit_breaker import CircuitBreaker
from money import Money
from payments import selectors as payments
from payments import services as bank
from sagas.choreography.services import Delivery
from sagas.hooks import Evidence, Stake, register_evidence, register_service, register_stake
from sagas.roles import Role, grant
from shipping import selectors as shipping
from shop.late_money import GiveBack, GiveBackData
from shop.models import Order
from shop.selectors import CANCELLATION, CHECKOUTS, READDRESSING, RETURN


def order_totals(datas: list[Any]) -> list[Stake | None]:
    """The money of the orders that sagas are about."""
    orders = {order.number: order for order in Order.objects.filter(number__in=map(_number_of, datas))}
    return [_total(orders.get(_number_of(data))) for data in datas]


def _total(order: Order | None) -> Stake | None:
    return None if order is None else Stake(order.total_amount, str(Money(order.total_amount, order.currency)))


def late_totals(datas: list[Any]) -> list[Stake | None]:
    """The money that sagas give back because it came too late."""
    found = bank.late_money_by_event(data.event_id for data in datas)
    return [_late_total(found.get(data.event_id)) for data in datas]


def _late_total(money: bank.LateMoney | None) -> Stake | None:
    return None if money is None else Stake(money.amount, str(Money(money.amount, money.currency)))


def what_came_from_outside(data: Any) -> list[Evidence]:
    """The webhooks of the bank and of the carrier about an order, the latest first."""
    order = Order.objects.filter(number=_number_of(data)).first()
    if order is None:
        return []
    told = [
        Evidence(event.received_at, f"bank: {event.kind}", f"{event.status} {event.note}".strip())
        for event in payments.gateway_events_of(order.number)
    ]
    shipment = shipping.shipment_of(order.shipment_reference)
    for tracked in shipment.events if shipment else ():
        told.append(Evidence(tracked.received_at, f"carrier: {tracked.status}", tracked.message))
    return sorted(told, key=lambda each: each.at, reverse=True)


def _number_of(data: Any) -> str:
    """Of the order that a saga is about, or the event that it or a handler is at."""
    if isinstance(data, GiveBackData):
        return bank.late_money(data.event_id).reference
    number: str = data.subject if isinstance(data, Delivery) else data.order_number
    return number


def why_not_call(name: str) -> str:
    """An open circuit: nobody calls that service right now."""
    try:
        circuit = CircuitBreaker(name).state()
    except redis.RedisError:
        return ""  # then nobody is kept from calling either
    if circuit.state != "open":
        return ""
    return f"The circuit to the {name} is open for {circuit.opens_again_in.total_seconds():.0f} s more."


HANDLERS = (
    "inventory.handlers.reserve_stock",
    "inventory.handlers.take_stock",
    "inventory.handlers.release_stock",
    "payments.handlers.authorize_payment",
    "payments.handlers.capture_payment",
    "payments.handlers.void_payment",
    "shipping.handlers.book_shipment",
    "shipping.handlers.cancel_shipment",
    "shop.handlers.end_checkout",
    "shop.handlers.send_confirmation",
)
for definition in (*CHECKOUTS.values(), CANCELLATION, RETURN, READDRESSING, *HANDLERS):
    register_stake(definition, order_totals)
    register_evidence(definition, what_came_from_outside)
register_stake(GiveBack.name, late_totals)
register_evidence(GiveBack.name, what_came_from_outside)
for service in ("bank", "carrier"):
    register_service(service, partial(why_not_call, service))

# Who looks after sagas sees what they are about.
grant(
    Role.VIEWER,
    "shop.view_order",
    "shop.view_orderline",
    "shop.view_addresswish",
    "inventory.view_stockitem",
    "inventory.view_reservation",
    "inventory.view_stockmovement",
    "payments.view_payment",
    "payments.view_refund",
    "payments.view_gatewayevent",
    "shipping.view_shipment",
    "shipping.view_trackingevent",
)
