"""The change of address: another parcel to another place, before the first one has left.

The old label is the pivot, as in docs/decisions/a-label-given-back-is-the-point-of-no-return.md.
"""

from sagas.definition import Begin, Lock, Pivot, RemoteStep, Retry, Saga, Step, minutes, seconds
from shop.after_sales import ask_to_readdress
from shop.readdressing_steps import (
    ReaddressingData,
    book_new_parcel,
    cancel_new_parcel,
    cancel_old_parcel,
    check_not_sent,
    find_new_parcel,
    send_readdressed,
    tell_that_address_stands,
)
from shop.selectors import READDRESSING

__all__ = ["ChangeAddress", "ReaddressingData"]

patient = Retry(attempts=100)


class ChangeAddress(Saga[ReaddressingData]):
    name, version = READDRESSING, 1
    deadline = minutes(30)
    locks = (Lock[ReaddressingData]("shop.order", lambda data: data.order_number),)

    steps = (
        Begin(ask_to_readdress, compensation=tell_that_address_stands),
        Step(check_not_sent, reads_only=True),
        RemoteStep(
            book_new_parcel,
            compensation=cancel_new_parcel,
            check=find_new_parcel,
            timeout=seconds(20),
            retry=patient,
        ),
        Pivot(cancel_old_parcel, timeout=seconds(20), retry=patient),
        RemoteStep(send_readdressed, skippable=True),
    )
