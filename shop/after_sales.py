"""What may be asked for an order that was placed: to cancel it, to return it, to send it elsewhere.

Each is one commit, and is answered with the saga that carries it out. Rows are locked as the engine
locks them, sagas before locks: an order is read after its lock was taken or queued for, and no
writer passes that.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.db.models import Max

from sagas import selectors
from sagas import services as sagas
from sagas.states import SagaStatus
from shop.checkout import Checkout
from shop.exceptions import InspectionMismatch, UnknownOrder, WishRefused
from shop.models import MAX_REASON, AddressWish, Order
from shop.selectors import CANCELLATION, READDRESSING, RETURN, latest_saga, order_and_parcel, order_with_lines
from shop.services import Address
from shop.wording import (
    ASKED_TO_CANCEL,
    NOT_ACCEPTED,
    ON_ITS_WAY,
    WHY_ANOTHER_ADDRESS_WAITS,
    WHY_NO_CANCEL,
    WHY_NO_OTHER_ADDRESS,
    WHY_NO_RETURN,
    why_not_cancelled,
    why_not_returned,
)

_RETURNABLE = (Order.Status.SHIPPED, Order.Status.DELIVERED)


@dataclass(frozen=True, slots=True)
class Asked:
    """The saga that carries a wish out, and where it is now."""

    saga_id: UUID
    definition: str
    key: str
    status: str


def ask_to_cancel(number: str, reason: str = "", *, actor: str = "customer") -> Asked:
    """Have an order cancelled, for a ``reason`` in the shopper's words.

    A checkout before its point of no return turns back. Past it, a cancellation of its own is started: it
    waits in line until the checkout has ended. A second call finds the first saga and changes nothing,
    unless that one came to nothing for a reason that passes.

    Raises `WishRefused` for an order that is past cancelling, and `UnknownOrder`.
    """
    key = _next_key(number, latest_saga(CANCELLATION, number))
    if (asked := _asked_to_cancel(number)) is not None:
        return asked
    try:
        return _start_to_cancel(number, key, reason[:MAX_REASON], actor)
    except WishRefused:
        # Somebody asked at the same moment, and theirs is done already: it is the answer to both.
        if (asked := _asked_to_cancel(number)) is None:
            raise
        return asked


def ask_to_return(number: str, reason: str = "", *, actor: str = "customer") -> Asked:
    """Have a sent order taken back: the saga waits for the parcel, then for a person who looks at the goods.

    One at a time for an order. A second call finds the first saga and changes nothing; only after one that
    came to nothing because the parcel did not come, another can be asked for.

    Raises `WishRefused` for an order that was not sent or is over, and `UnknownOrder`.
    """
    last = latest_saga(RETURN, number)
    if last is not None and _stands(last):
        return _asked(last)
    if last is not None and _failure_of(last) == NOT_ACCEPTED:
        raise WishRefused(number, why_not_returned(NOT_ACCEPTED, last.failure["message"]))
    # Here, not at the top: the plan's first step is this function.
    from shop.returning import ReturnData, ReturnOrder

    with transaction.atomic():
        data = ReturnData(number, reason[:MAX_REASON])
        saga = sagas.start(ReturnOrder, data, key=_next_key(number, last), actor=actor)
        if (status := _status_of(number)) not in _RETURNABLE:
            instead = "cancel" if status in (Order.Status.PENDING, Order.Status.CONFIRMED) else ""
            raise WishRefused(number, WHY_NO_RETURN[status], instead)
    return _asked(saga)


def ask_to_readdress(number: str, address: Address, *, actor: str = "customer") -> Asked:
    """Have an order that was not handed over go to another ``address``, once for that address.

    It waits in line while another saga holds the order. Raises `WishRefused` for an order that is past it or is
    being cancelled, or that is on its way to a third address; and `UnknownOrder`.
    """
    from shop.readdressing import ChangeAddress, ReaddressingData

    last = latest_saga(READDRESSING, number)
    if last is not None and _stands(last):
        if _address_wished(last) == address:
            return _asked(last)
        if last.ended_at is None:
            raise WishRefused(number, WHY_ANOTHER_ADDRESS_WAITS)
    with transaction.atomic():
        data = ReaddressingData(number, _next_parcel(number))
        key = _next_key(number, last)
        saga = sagas.start(ChangeAddress, data, key=key, on_conflict=sagas.OnConflict.WAIT, actor=actor)
        if (status := _status_of(number)) in WHY_NO_OTHER_ADDRESS:
            raise WishRefused(number, WHY_NO_OTHER_ADDRESS[status])
        cancellation = latest_saga(CANCELLATION, number)
        if cancellation is not None and cancellation.ended_at is None:
            raise WishRefused(number, "The order is being cancelled.")
        order = Order.objects.get(number=number)
        # Of two who ask at the same moment both get the saga of the first.
        parcel = saga.data["parcel"]
        wish, _ = AddressWish.objects.get_or_create(order=order, parcel=parcel, defaults=asdict(address))
        if _address_of(wish) != address:
            raise WishRefused(number, WHY_ANOTHER_ADDRESS_WAITS)
    return _asked(saga)


def parcel_came_back(reference: str, *, told_by: str) -> bool:
    """Tell the order's return that the parcel is here. Whoever is first tells it; says whether that was news.

    Without a return the news is kept for the one that the customer will ask for. Of a parcel that no longer
    carries its order nothing is believed.
    """
    number, parcel = order_and_parcel(reference)
    return Order.objects.filter(number=number, parcel=parcel).exists() and _tell_parcel_back(number, told_by)


def receive_return(number: str, *, by: str) -> Asked:
    """A person has the parcel in their hands. Raises `WishRefused` when no return is under way."""
    with transaction.atomic():
        last = _return_under_way(number)
        _tell_parcel_back(number, by)
    last.refresh_from_db()
    return _asked(last)


def inspect_return(
    number: str, *, accepted: bool, by: str, reason: str = "", broken: Mapping[str, int] | None = None
) -> Asked:
    """What a person found in the parcel: whether the return is ``accepted``, and how many of which sku are ``broken``.

    What is not broken goes back on sale. It may be told before the parcel was: then it is kept. The first
    verdict stands. ``reason`` is told to the customer when the return is not accepted.

    Raises `InspectionMismatch`, and `WishRefused` when no return is under way or it was inspected before.
    """
    from shop.returning import ReturnOrder
    from shop.returning_steps import Inspection, inspect_goods

    bought = {line.sku: line.quantity for line in order_with_lines(number).lines.all()}
    for sku, quantity in (broken or {}).items():
        if not 0 < quantity <= bought.get(sku, 0):
            raise InspectionMismatch(sku, bought.get(sku, 0))
    with transaction.atomic():
        last = _return_under_way(number)
        verdict = Inspection(accepted, by, reason[:MAX_REASON], dict(broken or {}))
        if not sagas.signal(ReturnOrder, last.business_key, inspect_goods, verdict, dedup_id="verdict", actor=by):
            raise WishRefused(number, "The return was inspected before; nothing was changed.")
    last.refresh_from_db()
    return _asked(last)


def _tell_parcel_back(number: str, told_by: str) -> bool:
    from shop.returning import ReturnOrder
    from shop.returning_steps import ParcelBack, parcel_back

    last = latest_saga(RETURN, number)
    key = last.business_key if last else number
    return sagas.signal(ReturnOrder, key, parcel_back, ParcelBack(told_by), dedup_id="back", actor=told_by)


def _start_to_cancel(number: str, key: str, reason: str, actor: str) -> Asked:
    # Here, not at the top: the plan's first step is `ask_to_cancel`.
    from shop.cancellation import CancellationData, CancelOrder

    with transaction.atomic():
        _check_cancellable(number)
        if sagas.turn_back(Checkout, number, code=ASKED_TO_CANCEL, why=reason, actor=actor):
            return _asked(selectors.saga_of(Checkout.name, number))
        saga = sagas.start(
            CancelOrder,
            CancellationData(number, reason),
            key=key,
            on_conflict=sagas.OnConflict.WAIT,
            actor=actor,
        )
        _check_cancellable(number)
    return _asked(saga)


def _asked_to_cancel(number: str) -> Asked | None:
    """The saga that cancels the order already, or has done so because it was asked to."""
    last = latest_saga(CANCELLATION, number)
    if last is not None and _stands(last):
        return _asked(last)
    if last is not None and _failure_of(last) == ON_ITS_WAY:
        raise WishRefused(number, why_not_cancelled(ON_ITS_WAY), "return")
    checkout = selectors.saga_of(Checkout.name, number)
    if checkout is not None and checkout.backward and _failure_of(checkout) == ASKED_TO_CANCEL:
        return _asked(checkout)
    return None


def _check_cancellable(number: str) -> None:
    status = _status_of(number)
    if status in WHY_NO_CANCEL:
        raise WishRefused(number, WHY_NO_CANCEL[status], "return" if status in _RETURNABLE else "")


def _return_under_way(number: str) -> Any:
    last = latest_saga(RETURN, number)
    if last is None:
        raise WishRefused(number, "Nobody asked to return this order.")
    if last.ended_at is not None:
        raise WishRefused(number, f"The return has ended: {last.get_status_display().lower()}.")
    return last


def _status_of(number: str) -> str:
    status = Order.objects.filter(number=number).values_list("status", flat=True).first()
    if status is None:
        raise UnknownOrder(number)
    return status


def _next_key(number: str, last: Any) -> str:
    """A saga's key is taken for ever, so the one after ``last`` is counted: S-1, S-1-2, S-1-3.

    Two who ask at the same moment have seen the same last one, so they ask for the same next one.
    """
    if last is None:
        return number
    return f"{number}-{_count(last.business_key, number) + 1}"


def _count(key: str, number: str) -> int:
    return int(key.removeprefix(number).removeprefix("-") or 1)


def _next_parcel(number: str) -> int:
    """Counted by what is kept as long as the order: sagas go, and a parcel's number is never used again."""
    found = Order.objects.filter(number=number).aggregate(Max("parcel"), Max("address_wishes__parcel"))
    return max(filter(None, found.values()), default=0) + 1


def _address_wished(saga: Any) -> Address:
    return _address_of(AddressWish.objects.get(order__number=saga.data["order_number"], parcel=saga.data["parcel"]))


def _address_of(wish: AddressWish) -> Address:
    return Address(**{part.name: getattr(wish, part.name) for part in fields(Address)})


def _stands(saga: Any) -> bool:
    """Whether it is under way, or has done what it was asked for."""
    return saga.ended_at is None or saga.status == SagaStatus.COMPLETED


def _failure_of(saga: Any) -> str:
    return str((saga.failure or {}).get("code", ""))


def _asked(saga: Any) -> Asked:
    return Asked(saga.pk, saga.definition, saga.business_key, cast(str, saga.status))
