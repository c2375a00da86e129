"""Money that came too late: the bank holds it or took it for an order that is over. It goes back by itself.

The order is as it was, and its payment, too: nothing of them is held or changed.
"""

from dataclasses import dataclass

from django.db import transaction

from payments import services as payments
from payments.answers import bank_answers
from sagas import services as sagas
from sagas.definition import Begin, Context, NoCompensation, Pivot, Retry, Saga, minutes, remote, seconds


@dataclass(frozen=True, slots=True)
class GiveBackData:
    """The bank's event that told of the money."""

    event_id: str


Ctx = Context[GiveBackData]
for_days = Retry(attempts=300, cap=minutes(15))


def start_to_give_back(event_id: str) -> None:
    """Once for each event."""
    with transaction.atomic():
        sagas.start(GiveBack, GiveBackData(event_id), key=event_id, actor="outside")


def find_late_money(ctx: Ctx) -> payments.LateMoney:
    return payments.late_money(ctx.data.event_id)


def record_given_back(ctx: Ctx, receipt: None) -> None:
    payments.record_given_back(ctx.data.event_id)


@remote(prepare=find_late_money, record=record_given_back, service="bank")
def give_late_money_back(ctx: Ctx, money: payments.LateMoney) -> None:
    with bank_answers():
        payments.give_late_money_back(money, key=ctx.idempotency_key, timeout=ctx.timeout)


class GiveBack(Saga[GiveBackData]):
    """Nothing undoes that the money is there: if it cannot be given back, a person has to see to it."""

    name, version = "shop.give_back", 1

    steps = (
        Begin(start_to_give_back, no_compensation=NoCompensation.SUSPEND),
        Pivot(give_late_money_back, timeout=seconds(20), retry=for_days),
    )
