"""How far an order is, in the shopper's words: what its page shows while the saga runs.

It reads three rooms: the order's own status, the saga's steps, and what became of the money. The page never
says more than these know: "nothing was charged" stands there when the payment says so.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from payments import selectors as payments
from sagas import selectors as sagas
from shipping import selectors as shipping
from shop.models import Order
from shop.wording import why_cancelled

CHECKOUT = "shop.checkout"

_PLACED = "We have your order"


class _Words(NamedTuple):
    """A step of the checkout that a shopper cares about: how it is called as it goes, and who is asked."""

    step: str
    done: str
    doing: str
    asked: str
    failed: str = ""
    undone: str = ""


_STAGES = (
    _Words(
        "reserve_stock",
        "Stock reserved",
        "Reserving your products",
        "the warehouse",
        failed="Not in stock",
        undone="Stock given back",
    ),
    _Words(
        "authorize_payment",
        "Payment authorised",
        "Asking your bank",
        "the bank",
        failed="Payment declined",
        undone="Payment released",
    ),
    _Words(
        "book_shipment",
        "Parcel booked",
        "Booking your parcel",
        "the parcel service",
        failed="Parcel not accepted",
        undone="Parcel cancelled",
    ),
    _Words("capture_payment", "Paid", "Taking the payment", "the bank", failed="Payment not taken"),
    _Words("confirm_order", "Confirmed", "Confirming your order", "the shop"),
)
_STATES_IN_WORDS = {
    "done": "done",
    "current": "now",
    "waiting": "waiting",
    "todo": "to come",
    "failed": "did not work",
    "undone": "given back",
}
_BEHIND_CONFIRMATION = (Order.Status.CONFIRMED, Order.Status.SHIPPED, Order.Status.DELIVERED, Order.Status.RETURNED)
_ENDED_WELL = {
    Order.Status.CONFIRMED: ("Your order is confirmed", "Thank you! We are packing your parcel."),
    Order.Status.SHIPPED: ("Your parcel is on its way", "It has left our house."),
    Order.Status.DELIVERED: ("Your parcel has arrived", "Enjoy it!"),
    Order.Status.RETURNED: ("Your return is complete", "Your money is on its way back to you."),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A stop on the way. ``state``: done, current, waiting, todo, failed, undone."""

    label: str
    state: str

    @property
    def in_words(self) -> str:
        return _STATES_IN_WORDS[self.state]


@dataclass(frozen=True, slots=True)
class Progress:
    """What to tell the shopper. ``live``: more is to come, ask again. ``tone``: working, waiting, good, bad."""

    headline: str
    detail: str
    tone: str
    live: bool
    stages: tuple[Stage, ...]
    tracking: str = ""
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        told = repr((self.headline, self.detail, self.tone, self.live, self.stages, self.tracking))
        object.__setattr__(self, "digest", hashlib.sha256(told.encode()).hexdigest()[:12])


def progress_of(order: Order) -> Progress:
    """Where ``order`` stands now. Reads only."""
    saga = sagas.saga_with_steps(CHECKOUT, order.number)
    steps = {step.name: step for step in saga.steps.all()} if saga else {}
    stages = _stages(order, saga, steps)
    if order.status in _BEHIND_CONFIRMATION:
        headline, detail = _ENDED_WELL[Order.Status(order.status)]
        return Progress(headline, detail, "good", False, stages, _tracking(order))
    if order.status == Order.Status.CANCELLED:
        money, settled = _money(order)
        return Progress("Your order was cancelled", f"{order.cancel_reason} {money}", "bad", not settled, stages)
    if saga is None:
        return Progress(_PLACED, "We start working on it in a moment.", "working", True, stages)
    return _under_way(saga, steps, stages)


def _under_way(saga: Any, steps: dict[str, Any], stages: tuple[Stage, ...]) -> Progress:
    if saga.status in ("SUSPENDED", "ABANDONED"):
        detail = "You do not need to do anything. Nothing is lost, and we will write to you."
        return Progress("Somebody of us is looking after your order", detail, "waiting", True, stages)
    if saga.backward:
        why = why_cancelled((saga.failure or {}).get("code", ""))
        detail = f"{why} We are giving everything back; this takes a moment."
        return Progress("We are cancelling your order", detail, "waiting", True, stages)
    for words in _STAGES:
        step = steps.get(words.step)
        if step is None or step.action in ("SUCCEEDED", "SKIPPED"):
            continue
        if _keeps_trying(step):
            detail = "We keep trying, so there is no need to order again. You can close this page and come back."
            return Progress(f"Waiting for {words.asked}", detail, "waiting", True, stages)
        if step.action == "RUNNING":
            return Progress(f"{words.doing} …", "This usually takes a few seconds.", "working", True, stages)
    return Progress(_PLACED, "This usually takes a few seconds.", "working", True, stages)


def _stages(order: Order, saga: Any, steps: dict[str, Any]) -> tuple[Stage, ...]:
    stages = [Stage("Order received", "done")]
    for words in _STAGES:
        if order.status in _BEHIND_CONFIRMATION:
            stages.append(Stage(words.done, "done"))
            continue
        step = steps.get(words.step)
        state = _state(step) if step else "todo"
        if state in ("todo", "current", "waiting") and (
            order.status == Order.Status.CANCELLED or (saga is not None and saga.backward)
        ):
            break  # it will not come to this any more
        stages.append(Stage({"undone": words.undone, "failed": words.failed}.get(state) or words.done, state))
    return tuple(_with_a_current(stages)) if order.status == Order.Status.PENDING else tuple(stages)


def _with_a_current(stages: list[Stage]) -> list[Stage]:
    """Between two steps the next one is what the shopper waits for."""
    if any(stage.state in ("current", "waiting", "failed", "undone") for stage in stages):
        return stages
    following = next((place for place, stage in enumerate(stages) if stage.state == "todo"), None)
    if following is None:
        return stages
    return [*stages[:following], Stage(stages[following].label, "current"), *stages[following + 1 :]]


def _state(step: Any) -> str:
    if step.compensation == "SUCCEEDED":
        return "undone"
    if step.action in ("SUCCEEDED", "SKIPPED"):
        return "done"
    if step.action == "FAILED":
        return "failed"
    if _keeps_trying(step):
        return "waiting"
    return "current" if step.action == "RUNNING" else "todo"


def _keeps_trying(step: Any) -> bool:
    return step.action in ("WAITING", "UNKNOWN") or (step.action == "RUNNING" and step.action_attempts > 1)


def _money(order: Order) -> tuple[str, bool]:
    """What became of the money of a cancelled order, and whether that is the last word."""
    payment = payments.payment_of(order.number)
    if payment is None or payment.status in ("DECLINED", "VOIDED"):
        return "Nothing was charged.", True
    if payment.status == "CAPTURED" and payment.refunded >= payment.amount:
        return "You got your money back.", True
    if payment.status == "CAPTURED":
        return "Your money is on its way back to you.", False
    return "Nothing will be charged.", False


def _tracking(order: Order) -> str:
    shipment = shipping.shipment_of(order.number)
    if shipment is None or not shipment.tracking_code:
        return ""
    return f"{shipment.carrier} {shipment.tracking_code}"
