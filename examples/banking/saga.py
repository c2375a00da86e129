"""A transfer: the money leaves one account, reaches the other, and is entered in the journal; or nothing moved.

Until the record both accounts are held, so nobody sees or spends money that may have to go back: that is why it
can always be taken back. The record is the pivot, as it is the last that can say no (the daily limit), and what
the journal shows stays. The notice comes after it: it can be repeated for ever, and holds no account meanwhile.
"""

from examples.banking.services import ACCOUNT, TransferData, request_transfer
from examples.banking.steps import (
    credit_target,
    debit_source,
    notify_owners,
    record_transfer,
    reject_transfer,
    reverse_credit,
    reverse_debit,
)
from sagas.definition import Begin, Lock, Pivot, RemoteStep, Saga, Step, minutes

__all__ = ["TransferData", "TransferMoney"]


class TransferMoney(Saga[TransferData]):
    name, version = "banking.transfer", 1
    deadline = minutes(10)
    # Taken in the order of the account numbers, whichever way the money goes: two transfers never wait for each other.
    locks = (
        Lock[TransferData](ACCOUNT, lambda data: data.source, release_after=record_transfer),
        Lock[TransferData](ACCOUNT, lambda data: data.target, release_after=record_transfer),
    )

    steps = (
        Begin(request_transfer, compensation=reject_transfer),
        Step(debit_source, compensation=reverse_debit),
        Step(credit_target, compensation=reverse_credit),
        Pivot(record_transfer),
        RemoteStep(notify_owners, skippable=True),
    )
