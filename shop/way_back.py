"""How far a cancellation, a return or a change of address is, in the shopper's words, and why one came to nothing."""

from datetime import datetime
from typing import Any

from shop.models import Order
from shop.selectors import CANCELLATION, READDRESSING, RETURN
from shop.stages import Progress, Stage, Words, first_under_way, state_of, steps_of, with_a_current
from shop.wording import NOT_ACCEPTED, ON_ITS_WAY, why_not_cancelled, why_not_readdressed, why_not_returned

_CANCELLATION = (
    Words("cancel_shipment", "Parcel stopped", "Stopping your parcel", "the parcel service", failed="Already sent"),
    Words("refund_payment", "Money given back", "Giving your money back", "the bank"),
    Words("mark_cancelled", "Cancelled", "Cancelling your order", "the shop"),
)
_RETURN = (
    Words("parcel_back", "Parcel with us", "Waiting for your parcel", "your parcel", failed="No parcel came"),
    Words("inspect_goods", "Goods looked at", "Looking at the goods", "us", failed="Not accepted"),
    Words("refund_payment", "Money given back", "Giving your money back", "the bank"),
)
_READDRESSING = (
    Words("book_new_parcel", "New parcel booked", "Booking a parcel to the new address", "the parcel service"),
    Words("cancel_old_parcel", "Address changed", "Stopping the first parcel", "the parcel service"),
)
_WORDS = {CANCELLATION: _CANCELLATION, RETURN: _RETURN, READDRESSING: _READDRESSING}
_ASKED = {
    CANCELLATION: "You asked to cancel",
    RETURN: "You asked to return it",
    READDRESSING: "You asked for another address",
}
_IN_LINE = {
    CANCELLATION: "We are about to cancel your order",
    READDRESSING: "We are about to change the address",
}
_DOING = {
    CANCELLATION: "We are cancelling your order",
    RETURN: "We have your wish to return it",
    READDRESSING: "We are changing the address",
}
_A_MOMENT = "This usually takes a few seconds."
_KEEP_TRYING = "We keep trying, so you do not need to do anything. You can close this page and come back."


def way_back(wish: Any) -> Progress:
    """Where what was asked for stands. A page that waits for days does not ask every second."""
    stages, waits_for = way_back_stages(wish), (wish.waiting_on or {}).get("kind")
    if wish.status == "SUSPENDED":
        detail = "You do not need to do anything. Nothing is lost, and we will write to you."
        return Progress("Somebody of us is looking after your order", detail, "waiting", True, stages)
    if waits_for == "lock":
        detail = "Something else is being done with your order right now. As soon as that is through, it is your turn."
        return Progress(_IN_LINE[wish.definition], detail, "waiting", True, stages)
    if waits_for == "signal":
        detail = f"Send us the parcel {_until(wish)}. When it is here, we look at the goods and give your money back."
        return Progress("We are waiting for your parcel", detail, "waiting", False, stages)
    if waits_for == "human":
        detail = "It takes us up to three days to look at the goods. Then you get your money back."
        return Progress("Your parcel is back with us", detail, "waiting", False, stages)
    under_way = first_under_way(_words(wish), steps_of(wish))
    if under_way and under_way[1]:
        return Progress(f"Waiting for {under_way[0].asked}", _KEEP_TRYING, "waiting", True, stages)
    doing = f"{under_way[0].doing} …" if under_way else _doing(wish)
    return Progress(doing, _A_MOMENT, "working", True, stages)


def way_back_stages(wish: Any) -> tuple[Stage, ...]:
    steps = steps_of(wish)
    stages = [Stage(_asked(wish), "done")]
    for words in _words(wish):
        step = steps.get(words.step)
        state = state_of(step) if step else "todo"
        stages.append(Stage(words.failed if state == "failed" and words.failed else words.done, state))
    return tuple(with_a_current(stages))


def came_to_nothing(wish: Any) -> str:
    """Why the last wish was not fulfilled; empty where none was, or it was."""
    if wish is None or not wish.backward:
        return ""
    failure = wish.failure or {"code": "", "message": ""}
    if wish.definition == CANCELLATION:
        return why_not_cancelled(failure["code"])
    if wish.definition == READDRESSING:
        return why_not_readdressed(failure["code"])
    return why_not_returned(failure["code"], failure["message"])


def what_to_offer(order: Order, wish: Any, *, goes_back: bool) -> str:
    """What it makes sense to offer: cancel, return, or nothing. `after_sales` decides when it is asked for."""
    failure = (wish.failure or {}).get("code", "") if wish else ""
    if wish is not None and wish.ended_at is None:
        return ""
    if order.status in (Order.Status.SHIPPED, Order.Status.DELIVERED):
        return "" if failure == NOT_ACCEPTED else "return"
    if order.status in (Order.Status.PENDING, Order.Status.CONFIRMED):
        return "" if goes_back or failure == ON_ITS_WAY else "cancel"
    return ""


def _words(wish: Any) -> tuple[Words, ...]:
    return _WORDS[wish.definition]


def _asked(wish: Any) -> str:
    return _ASKED[wish.definition]


def _doing(wish: Any) -> str:
    return _DOING[wish.definition]


def _until(wish: Any) -> str:
    until = wish.waiting_on.get("until")
    return f"by {datetime.fromisoformat(until):%-d %B %Y}" if until else "soon"
