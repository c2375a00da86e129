"""What inventory does about the events of others. Names and members are what they publish, not their code."""

from dataclasses import dataclass

from inventory import services as inventory
from inventory.events import StockRefused, StockReleased, StockReserved, StockTaken
from inventory.exceptions import AlreadyReleased, OutOfStock
from sagas.choreography.services import Delivery, heard, publish, subscribe
from sagas.definition import Context
from sagas.outcomes import Refused

Ctx = Context[Delivery]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of an order that was placed: how many of which sku."""

    lines: dict[str, int]


@dataclass(frozen=True, slots=True)
class Why:
    code: str
    message: str


def refuse_stock(ctx: Ctx, receipt: None) -> None:
    assert ctx.failure is not None
    publish(StockRefused(ctx.failure.code, ctx.failure.message), cause=ctx.data)


@subscribe("shop.order_placed", otherwise=refuse_stock)
def reserve_stock(ctx: Ctx) -> None:
    try:
        inventory.reserve(ctx.data.subject, heard(ctx).read(Wanted).lines)
    except OutOfStock as error:
        raise Refused("out_of_stock", str(error)) from error
    except AlreadyReleased as error:
        raise Refused("already_released", str(error)) from error
    publish(StockReserved(), cause=ctx.data)


@subscribe("payments.payment_captured")
def take_stock(ctx: Ctx) -> None:
    inventory.commit(ctx.data.subject)
    publish(StockTaken(), cause=ctx.data)


@subscribe("payments.payment_declined", "payments.payment_voided")
def release_stock(ctx: Ctx) -> None:
    why = heard(ctx).read(Why)
    inventory.release(ctx.data.subject)
    publish(StockReleased(why.code, why.message), cause=ctx.data)
