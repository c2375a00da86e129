"""The cancellation: a confirmed order that was not handed over, back to nothing bought and nothing paid.

Its pivot is the label, not the refund: see docs/decisions/a-label-given-back-is-the-point-of-no-return.md.
"""

from sagas.definition import Begin, Lock, Pivot, RemoteStep, Retry, Saga, Step, minutes, seconds
from shop.after_sales import ask_to_cancel
from shop.cancellation_steps import (
    CancellationData,
    cancel_shipment,
    check_confirmed,
    mark_cancelled,
    refund_payment,
    restock_goods,
    send_cancelled,
    tell_that_order_stands,
)
from shop.giving_back import find_refund
from shop.selectors import CANCELLATION

__all__ = ["CancelOrder", "CancellationData"]

patient = Retry(attempts=100)


class CancelOrder(Saga[CancellationData]):
    name, version = CANCELLATION, 1
    deadline = minutes(30)
    locks = (Lock[CancellationData]("shop.order", lambda data: data.order_number),)

    steps = (
        Begin(ask_to_cancel, compensation=tell_that_order_stands),
        Step(check_confirmed, reads_only=True),
        Pivot(cancel_shipment, timeout=seconds(20), retry=patient),
        RemoteStep(refund_payment, check=find_refund, timeout=seconds(20), retry=patient),
        Step(restock_goods),
        Step(mark_cancelled),
        RemoteStep(send_cancelled, skippable=True),
    )
