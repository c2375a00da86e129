"""The steps of a transfer, each beside what undoes it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.core.validators import validate_email

from examples.banking import services as bank
from examples.banking.exceptions import PostingRefused
from examples.banking.models import Transfer
from examples.banking.services import CURRENCY, TransferData
from money import Money
from sagas.definition import Context, remote
from sagas.outcomes import Refused, Transient

logger = logging.getLogger(__name__)

Ctx = Context[TransferData]


def reject_transfer(ctx: Ctx, receipt: None) -> None:
    bank.reject(ctx.data.number, ctx.failure.message if ctx.failure else "")


def debit_source(ctx: Ctx) -> None:
    with the_bank_answers():
        bank.debit(_transfer(ctx))


def reverse_debit(ctx: Ctx, receipt: None) -> None:
    bank.reverse_debit(_transfer(ctx))


def credit_target(ctx: Ctx) -> None:
    with the_bank_answers():
        bank.credit(_transfer(ctx))


def reverse_credit(ctx: Ctx, receipt: None) -> None:
    bank.reverse_credit(_transfer(ctx))


def record_transfer(ctx: Ctx) -> None:
    """From here on the transfer stands: who wants the money back makes another one."""
    with the_bank_answers():
        bank.record(_transfer(ctx))


@dataclass(frozen=True, slots=True)
class Notice:
    recipient: str
    text: str


def write_notices(ctx: Ctx) -> list[Notice]:
    """Read anew before each attempt: an address that was corrected is used by the next one."""
    transfer = _transfer(ctx)
    amount = Money(transfer.amount, CURRENCY)
    notices = [
        Notice(transfer.source.email, f"{amount} went from your account to {transfer.target.owner}."),
        Notice(transfer.target.email, f"{amount} came to your account from {transfer.source.owner}."),
    ]
    return [notice for notice in notices if notice.recipient]


@remote(prepare=write_notices)
def notify_owners(ctx: Ctx, notices: list[Notice]) -> None:
    """A repeat carries the same Message-IDs, so that a mailbox shows each notice once."""
    for notice in notices:
        try:
            validate_email(notice.recipient)
        except ValidationError as error:
            raise Transient(f"“{notice.recipient}” is no e-mail address; correct it on the account.") from error
    name = ctx.idempotency_key.replace(":", ".")
    try:
        get_connection(timeout=ctx.timeout.total_seconds()).send_messages(
            [
                EmailMessage(
                    f"Transfer {ctx.data.number}",
                    notice.text,
                    to=[notice.recipient],
                    headers={"Message-ID": f"<{name}.{place}@bank.example>"},
                )
                for place, notice in enumerate(notices)
            ]
        )
    except OSError as error:
        # They may have been sent; a second copy does no harm.
        raise Transient(f"the mail server cannot be reached: {type(error).__name__}") from error


@contextmanager
def the_bank_answers() -> Iterator[None]:
    """The bank's words in the saga's."""
    try:
        yield
    except PostingRefused as error:
        raise Refused(error.code, str(error)) from error


def _transfer(ctx: Ctx) -> Transfer:
    return Transfer.objects.select_related("source", "target").get(number=ctx.data.number)
