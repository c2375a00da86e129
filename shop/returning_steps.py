"""The steps of a return, and what it is told from outside."""

from dataclasses import dataclass, field

from inventory import services as inventory
from payments import services as payments
from sagas import services as sagas
from sagas.definition import Context, remote
from sagas.outcomes import Refused
from shop import giving_back
from shop import services as shop
from shop.models import Order
from shop.outside import Mail, deliver
from shop.selectors import order_with_lines
from shop.wording import NOT_ACCEPTED, why_not_returned


@dataclass(frozen=True, slots=True)
class ReturnData:
    """``reason`` is in the shopper's words."""

    order_number: str
    reason: str


@dataclass(frozen=True, slots=True)
class ParcelBack:
    """The parcel is in our house again. ``told_by``: the carrier, or who has it in their hands."""

    told_by: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """A person's verdict. ``broken`` counts by sku what cannot be sold again; ``reason`` is told to the customer."""

    accepted: bool
    inspector: str
    reason: str = ""
    broken: dict[str, int] = field(default_factory=dict)


Ctx = Context[ReturnData]


def compose_not_returned(ctx: Ctx, receipt: None) -> Mail:
    failure = ctx.failure
    body = why_not_returned(failure.code, failure.message) if failure else why_not_returned("")
    return _mail(order_with_lines(ctx.data.order_number), "Your return of order {} came to nothing", body)


@remote(prepare=compose_not_returned, service="mail")
def tell_why_not_returned(ctx: Ctx, mail: Mail) -> None:
    """The order has kept its status all along; the customer is told why it stays so."""
    deliver(ctx, mail)


def parcel_back(ctx: Ctx, parcel: ParcelBack) -> ParcelBack:
    return parcel


def inspect_goods(ctx: Ctx, inspection: Inspection) -> Inspection:
    if not inspection.accepted:
        raise Refused(NOT_ACCEPTED, inspection.reason)
    return inspection


# --- the money -------------------------------------------------------------------------------------


def record_refund_and_return(ctx: Ctx, receipt: payments.RefundReceipt) -> None:
    """The order is returned in the commit that knows of the refund: it is never paid back and still bought."""
    giving_back.record_refund(ctx, receipt)
    with sagas.guard("shop.order", ctx.data.order_number):
        shop.return_order(ctx.data.order_number)


def record_refund_refused(ctx: Ctx, refused: Refused) -> None:
    payments.record_refund_refused(giving_back.refund_reference(ctx))


@remote(
    prepare=giving_back.begin_refund, record=record_refund_and_return, refused=record_refund_refused, service="bank"
)
def refund_payment(ctx: Ctx, request: payments.RefundRequest) -> payments.RefundReceipt:
    """Give the money back: from here on the return is carried out."""
    return giving_back.refund(ctx, request)


# --- the goods -------------------------------------------------------------------------------------


def sort_goods(ctx: Ctx) -> None:
    """What came back is on sale again, except what is broken: that leaves the books in the same commit."""
    giving_back.restock(ctx)
    for sku, quantity in sorted(ctx.receipt_of(inspect_goods).broken.items()):
        inventory.write_off(sku, quantity, f"came back broken with {ctx.data.order_number}")


def compose_returned(ctx: Ctx) -> Mail:
    order = order_with_lines(ctx.data.order_number)
    body = f"Your return is complete. Your money is on its way back to you: {order.total}."
    return _mail(order, "Your return of order {} is complete", body)


@remote(prepare=compose_returned, service="mail")
def send_returned(ctx: Ctx, mail: Mail) -> None:
    deliver(ctx, mail)


def _mail(order: Order, subject: str, body: str) -> Mail:
    return Mail(order.email, subject.format(order.number), f"{body}\n\nYour order: {shop.order_link(order)}\n")
