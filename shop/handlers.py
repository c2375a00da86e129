"""What the shop does about the events of others: the end of the flow, and the mail after it."""

from sagas.choreography.services import Delivery, heard, subscribe
from sagas.definition import Context, remote
from sagas.services import signal
from shop.checkout_steps import confirmation_of
from shop.choreographed_checkout import ChoreographedCheckout, Outcome, confirm_order
from shop.outside import Mail, deliver

Ctx = Context[Delivery]


@subscribe("inventory.stock_taken", "inventory.stock_refused", "inventory.stock_released")
def end_checkout(ctx: Ctx) -> None:
    """The goods are gone to be packed, or nothing is kept any more: the order's own saga may go on."""
    outcome = heard(ctx).read(Outcome)
    signal(ChoreographedCheckout, ctx.data.subject, confirm_order, outcome, dedup_id="end", actor=ctx.data.type)


def compose_confirmation(ctx: Ctx) -> Mail:
    return confirmation_of(ctx.data.subject)


@subscribe("shop.order_confirmed")
@remote(prepare=compose_confirmation, service="mail")
def send_confirmation(ctx: Ctx, mail: Mail) -> None:
    deliver(ctx, mail)
