"""What may be done: each function is one local transaction, or joins its caller's. Called twice, it does it once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, Sum
from django.db.models.functions import Now, TruncDay

from examples.banking.exceptions import InvalidTransfer, PostingRefused
from examples.banking.models import Account, LedgerEntry, Transfer
from money import Money
from sagas import services as sagas

ACCOUNT = "banking.account"
CURRENCY = "EUR"
MOST_AT_ONCE = 1_000
MOST_CENTS = 10**12
_NUMBER = re.compile(r"[A-Za-z0-9-]{1,40}")

Posting = LedgerEntry.Posting
# The numbers of the bank's own accounts.
VAULT, CLEARING = Account.Kind.VAULT.value, Account.Kind.CLEARING.value


@dataclass(frozen=True)
class TransferData:
    number: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer asks for: ``amount`` cents from ``source`` to ``target``."""

    number: str
    source: str
    target: str
    amount: int


# --- accounts ---------------------------------------------------------------------------------------


@transaction.atomic
def open_account(
    number: str, owner: str, *, deposit: int = 0, email: str = "", daily_limit: int | None = None
) -> Account:
    """Open an account and pay the first deposit in. The same number again is the same account, as it is."""
    for kind in (VAULT, CLEARING):
        Account.objects.get_or_create(number=kind, defaults={"kind": kind, "owner": "the bank"})
    defaults = {"owner": owner, "email": email, "balance_amount": 0, "daily_limit_amount": daily_limit}
    account, is_new = Account.objects.get_or_create(number=number, defaults=defaults)
    if is_new and deposit:
        paid_in = Transfer.objects.create(
            number=f"deposit {number}",
            source_id=VAULT,
            target=account,
            amount=deposit,
            status=Transfer.Status.RECORDED,
            recorded_at=Now(),
        )
        _post(paid_in, Posting.DEPOSITED, VAULT, number)
        account.refresh_from_db()
    return account


def freeze_account(number: str) -> None:
    """Let nothing in or out any more. Raises `sagas.exceptions.LockTaken` while a transfer of it is under way."""
    with sagas.guard(ACCOUNT, number):
        Account.objects.filter(number=number).update(is_frozen=True)


def change_email(number: str, email: str) -> None:
    """Send the notices elsewhere, also those that could not be sent so far. Raises as `freeze_account` does."""
    with sagas.guard(ACCOUNT, number):
        Account.objects.filter(number=number).update(email=email)


# --- transfers --------------------------------------------------------------------------------------


def request_transfer(order: Order) -> Transfer:
    """Store the transfer and start its saga, in one commit. The same order again is the same transfer.

    While another transfer holds one of the accounts, this one waits in line for it. Raises `InvalidTransfer`.
    """
    from examples.banking.saga import TransferMoney

    with transaction.atomic():
        (transfer,) = _store([order])
        if transfer.status == Transfer.Status.REQUESTED:
            sagas.start(TransferMoney, _data(order), key=order.number, on_conflict=sagas.OnConflict.WAIT)
    return transfer


def request_transfers(orders: Sequence[Order]) -> list[Order]:
    """The same for up to 1,000 in a few statements. Returns those that were not stored.

    A batch does not wait in line: of those that need the same account the first is started. Ask again for
    the others later. Raises `InvalidTransfer`, and then nothing is stored.
    """
    from examples.banking.saga import TransferMoney

    if len(orders) > MOST_AT_ONCE:
        raise InvalidTransfer("orders", f"{len(orders)} transfers are too many at once; {MOST_AT_ONCE} are the most.")
    with transaction.atomic():
        requested = {transfer.number for transfer in _store(orders) if transfer.status == Transfer.Status.REQUESTED}
        wanted = [(order.number, _data(order)) for order in orders if order.number in requested]
        results = sagas.start_many(TransferMoney, wanted)
        rejected = {result.key for result in results if isinstance(result, sagas.Rejected)}
        Transfer.objects.filter(number__in=rejected).delete()
    return [order for order in orders if order.number in rejected]


def debit(transfer: Transfer) -> None:
    """Take the money from its source: from now on it is in transit. Raises `PostingRefused`."""
    source = transfer.source
    if Posting.DEBITED in _postings(transfer):
        return
    if source.is_frozen:
        raise PostingRefused("frozen", f"Account {source} is frozen.")
    if (source.balance_amount or 0) < transfer.amount:
        raise PostingRefused("too_little", f"There is less than {_words(transfer.amount)} on account {source}.")
    _post(transfer, Posting.DEBITED, source.number, CLEARING)


def reverse_debit(transfer: Transfer) -> None:
    """Give the money in transit back to its source."""
    if _is_to_reverse(transfer, Posting.DEBITED, Posting.DEBIT_REVERSED):
        _post(transfer, Posting.DEBIT_REVERSED, CLEARING, transfer.source_id)


def credit(transfer: Transfer) -> None:
    """Bring the money in transit to its target. Raises `PostingRefused`."""
    if Posting.CREDITED in _postings(transfer):
        return
    if transfer.target.is_frozen:
        raise PostingRefused("frozen", f"Account {transfer.target} is frozen.")
    _post(transfer, Posting.CREDITED, CLEARING, transfer.target_id)


def reverse_credit(transfer: Transfer) -> None:
    """Take the money back. It is still there: the saga holds the account, so nobody could spend it."""
    if _is_to_reverse(transfer, Posting.CREDITED, Posting.CREDIT_REVERSED):
        _post(transfer, Posting.CREDIT_REVERSED, transfer.target_id, CLEARING)


def record(transfer: Transfer) -> None:
    """Enter the transfer in the journal, where it stands and counts for the limit. Raises `PostingRefused`."""
    limit = transfer.source.daily_limit_amount
    if limit is not None:
        sent = Transfer.objects.filter(source=transfer.source, recorded_at__gte=TruncDay(Now()))
        total = sent.exclude(pk=transfer.pk).aggregate(sum=Sum("amount"))["sum"] or 0
        if total + transfer.amount > limit:
            words = f"Account {transfer.source} may send {_words(limit)} a day."
            raise PostingRefused("over_limit", words)
    requested = Transfer.objects.filter(pk=transfer.pk, status=Transfer.Status.REQUESTED)
    requested.update(status=Transfer.Status.RECORDED, recorded_at=Now())


def reject(number: str, reason: str) -> None:
    """The transfer came to nothing, and says why."""
    requested = Transfer.objects.filter(number=number, status=Transfer.Status.REQUESTED)
    requested.update(status=Transfer.Status.REJECTED, reason=reason[:200])


# --- the ledger -------------------------------------------------------------------------------------


def _post(transfer: Transfer, posting: str, payer: str, payee: str) -> None:
    """Both sides of one movement in one statement, and the balances with them."""
    sides = ((payer, -transfer.amount), (payee, transfer.amount))
    with transaction.atomic(savepoint=False):
        LedgerEntry.objects.bulk_create(
            LedgerEntry(transfer=transfer, posting=posting, account_id=number, amount=amount)
            for number, amount in sides
        )
        for number, amount in sides:
            if number not in (VAULT, CLEARING):
                Account.objects.filter(number=number).update(balance_amount=F("balance_amount") + amount)


def _postings(transfer: Transfer) -> set[str]:
    return set(transfer.entries.values_list("posting", flat=True))


def _is_to_reverse(transfer: Transfer, posting: str, reversal: str) -> bool:
    postings = _postings(transfer)
    return posting in postings and reversal not in postings


def _store(orders: Sequence[Order]) -> list[Transfer]:
    """The transfers of these orders, whether they are new or not."""
    numbers = {number for order in orders for number in (order.source, order.target)}
    customers = Account.objects.filter(number__in=numbers, kind=Account.Kind.CUSTOMER)
    accounts = set(customers.values_list("number", flat=True))
    for order in orders:
        _check(order, accounts)
    Transfer.objects.bulk_create(
        [
            Transfer(
                number=order.number,
                source_id=order.source,
                target_id=order.target,
                amount=order.amount,
            )
            for order in orders
        ],
        ignore_conflicts=True,
    )
    stored = Transfer.objects.in_bulk([order.number for order in orders], field_name="number")
    for order in orders:
        known = stored[order.number]
        if order != Order(known.number, known.source_id, known.target_id, known.amount):
            raise InvalidTransfer("number", f"There is another transfer {order.number}.")
    return list(stored.values())


def _check(order: Order, accounts: set[str]) -> None:
    if not _NUMBER.fullmatch(order.number):
        raise InvalidTransfer("number", "The number of a transfer is made of up to 40 letters, digits and hyphens.")
    if not 0 < order.amount <= MOST_CENTS:
        raise InvalidTransfer("amount", f"A transfer moves from 1 cent to {_words(MOST_CENTS)}.")
    for field, number in (("source", order.source), ("target", order.target)):
        if number not in accounts:
            raise InvalidTransfer(field, f"There is no account {number}.")
    if order.source == order.target:
        raise InvalidTransfer("target", "The money would go to the account that it comes from.")


def _data(order: Order) -> TransferData:
    return TransferData(order.number, order.source, order.target)


def _words(amount: int) -> str:
    return str(Money(amount, CURRENCY))
