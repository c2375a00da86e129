"""Money that came too late: the bank holds it or took it for an order that is over. It goes back by itself.

The order is as it was, and its payment, too: nothing of them is held or changed.
"""

from dataclasses import dataclass

from payments import services as payments
from sagas.definition import Context, Pivot, RemoteStep, Saga, remote, seconds
from shop.outside import bank_answers


@dataclass(frozen=True, slots=True)
class GiveBackData:
    """The bank's event that told of the money."""

    event_id: str


Ctx = Context[GiveBackData]


def note_late_money(ctx: Ctx) -> None:
    """From here on nothing turns back: it is given back however long it takes."""
    payments.late_money(ctx.data.event_id)


def find_late_money(ctx: Ctx) -> payments.LateMoney:
    return payments.late_money(ctx.data.event_id)


def record_given_back(ctx: Ctx, receipt: None) -> None:
    payments.record_given_back(ctx.data.event_id)


@remote(prepare=find_late_money, record=record_given_back)
def give_late_money_back(ctx: Ctx, money: payments.LateMoney) -> None:
    with bank_answers():
        payments.give_late_money_back(money, key=ctx.idempotency_key, timeout=ctx.timeout)


class GiveBack(Saga[GiveBackData]):
    name, version = "shop.give_back", 1

    steps = (
        Pivot(note_late_money),
        RemoteStep(give_late_money_back, timeout=seconds(20)),
    )
