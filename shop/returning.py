"""The return: the parcel comes back, a person looks at it, the money goes back and the goods on sale or away.

It holds the return, not the order: see docs/decisions/a-return-does-not-hold-its-order.md.
"""

from datetime import timedelta

from sagas.definition import Await, AwaitPerson, Begin, Lock, Pivot, RemoteStep, Retry, Saga, Step, minutes, seconds
from shop.after_sales import ask_to_return
from shop.giving_back import find_refund
from shop.returning_steps import (
    ReturnData,
    inspect_goods,
    parcel_back,
    refund_payment,
    send_returned,
    sort_goods,
    tell_why_not_returned,
)
from shop.selectors import RETURN

__all__ = ["ReturnData", "ReturnOrder"]


# The goods were accepted: a bank that is away for a while must not undo that.
for_days = Retry(attempts=300, cap=minutes(15))


class ReturnOrder(Saga[ReturnData]):
    name, version = RETURN, 1
    locks = (Lock[ReturnData]("shop.return", lambda data: data.order_number),)

    steps = (
        Begin(ask_to_return, compensation=tell_why_not_returned),
        Await(parcel_back, within=timedelta(days=14), reads_only=True),
        AwaitPerson(inspect_goods, within=timedelta(days=3), reads_only=True),
        Pivot(refund_payment, check=find_refund, timeout=seconds(20), retry=for_days),
        Step(sort_goods),
        RemoteStep(send_returned, skippable=True),
    )
