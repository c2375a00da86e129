"""Debit here, credit there. The second database does not share our transaction: to the saga it is the outside."""

from dataclasses import dataclass

from django.db.models import F
from django.db.models.functions import Now
from psycopg import Error
from psycopg_pool import PoolTimeout

from benchmarks.transfer_app import there
from benchmarks.transfer_app.dying import die_if_asked
from benchmarks.transfer_app.models import Account, Transfer
from sagas.definition import Context, remote
from sagas.outcomes import Refused, Transient, Unknown


@dataclass(frozen=True)
class Payment:
    number: str
    account: int
    cents: int


Ctx = Context[Payment]


def ask_for_transfer(payment: Payment) -> None:
    Transfer.objects.create(number=payment.number, account_id=payment.account, cents=payment.cents)


def cancel_transfer(ctx: Ctx, receipt: None) -> None:
    Transfer.objects.filter(pk=ctx.data.number).update(status="CANCELLED", ended_at=Now())


def debit(ctx: Ctx) -> None:
    covered = Account.objects.filter(pk=ctx.data.account, cents__gte=ctx.data.cents)
    if not covered.update(cents=F("cents") - ctx.data.cents):
        raise Refused("not_covered", f"account {ctx.data.account} does not hold {ctx.data.cents} cents")
    die_if_asked("debit")


def return_debit(ctx: Ctx, receipt: None) -> None:
    Account.objects.filter(pk=ctx.data.account).update(cents=F("cents") + ctx.data.cents)


@remote()
def credit(ctx: Ctx, request: None) -> None:
    try:
        there.credit_once(ctx.idempotency_key, ctx.data.account, ctx.data.cents, ctx.timeout.total_seconds() / 2)
    except PoolTimeout as error:
        raise Transient("no connection to the other database") from error
    except Error as error:
        raise Unknown(str(error)) from error
    die_if_asked("credit")


def finish_transfer(ctx: Ctx) -> None:
    Transfer.objects.filter(pk=ctx.data.number).update(status="DONE", ended_at=Now())
