"""``manage.py banking --fail credit``: moves money, and tells what happens."""

import random
import uuid
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from time import monotonic, sleep
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from examples.banking.models import Account, Transfer
from examples.banking.saga import TransferMoney
from examples.banking.services import CURRENCY, Order, change_email, freeze_account, open_account, request_transfer
from examples.story import PATIENCE_S, tell
from money import Money
from sagas import services as sagas
from sagas.driver import drain_due

MOST_TRANSFERS = 10_000
AMOUNT = 30_000


class Command(BaseCommand):
    help = "Move money between accounts by double entry, and tell what happens."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--fail", choices=["debit", "credit", "record", "notify"], help="the step that something is wrong with"
        )
        parser.add_argument("--transfers", type=_count, metavar="N", help="instead: so many at once, at random")

    def handle(self, *args: Any, fail: str | None, transfers: int | None, **options: Any) -> None:
        if fail and transfers:
            raise CommandError("--fail is for one transfer; of many some are refused anyway.")
        if transfers:
            self._many(transfers)
        else:
            self._one(fail)

    # --- one transfer -------------------------------------------------------------------------------

    def _one(self, fail: str | None) -> None:
        run = uuid.uuid4().hex[:6]
        ada = open_account(
            f"ada-{run}",
            "Ada",
            deposit=AMOUNT - 1 if fail == "debit" else 100_000,
            daily_limit=AMOUNT - 1 if fail == "record" else 500_000,
            email="ada at home" if fail == "notify" else "ada@bank.example",
        )
        bob = open_account(f"bob-{run}", "Bob", deposit=50_000, email="bob@bank.example")
        if fail == "credit":
            freeze_account(bob.number)
        order = Order(f"T-{run}", ada.number, bob.number, AMOUNT)
        self.stdout.write(f"Transfer {order.number}: {_money(AMOUNT)} from {ada} to {bob}.")
        self._show(ada, bob)
        transfer = request_transfer(order)

        def correct_address(step: str) -> None:
            self.stdout.write("    The money has moved; only the notice is left. Ada corrects her address.")
            change_email(ada.number, "ada@bank.example")
            sagas.wake(TransferMoney.name, order.number, why="the address was corrected")

        tell(TransferMoney.name, order.number, self.stdout.write, on_trouble=correct_address)
        self._show(ada, bob)
        transfer.refresh_from_db()
        entries = list(transfer.entries.order_by("id"))
        self.stdout.write("Its ledger:" if entries else "Its ledger is empty.")
        for entry in entries:
            self.stdout.write(f"  {entry.posting:<15} {_money(entry.amount):>12}  {entry.account_id}")
        self.stdout.write(f"The transfer is {transfer.status}{f': {transfer.reason}' if transfer.reason else '.'}")

    def _show(self, *accounts: Account) -> None:
        for account in accounts:
            account.refresh_from_db()
        self.stdout.write("  | " + " | ".join(f"{one} has {_money(one.balance_amount or 0)}" for one in accounts))

    # --- many ---------------------------------------------------------------------------------------

    def _many(self, count: int) -> None:
        """Between 20 accounts, so that many wait in line for the same one."""
        run = uuid.uuid4().hex[:6]
        numbers = [f"{run}-{place:02}" for place in range(20)]
        for number in numbers:
            open_account(number, f"Customer {number}", deposit=100_000, daily_limit=400_000)
        freeze_account(numbers[-1])
        started = monotonic()
        for place in range(count):
            source, target = random.sample(numbers, 2)
            request_transfer(Order(f"T-{run}-{place}", source, target, random.randint(1, 40_000)))  # noqa: S311
        self.stdout.write(f"{count} transfers between {len(numbers)} accounts with {_money(2_000_000)} in all.")
        mine = Transfer.objects.filter(number__startswith=f"T-{run}-")
        done, give_up_at = 0, started + PATIENCE_S + count
        while drain_due(seconds=5) or mine.filter(status=Transfer.Status.REQUESTED).exists():
            if monotonic() > give_up_at:
                raise CommandError("They have not come to an end; look at the sagas in the admin.")
            before, done = done, mine.exclude(status=Transfer.Status.REQUESTED).count()
            if done > before:
                self.stdout.write(f"  {done} of {count} are done")
            sleep(0.05)
        took = monotonic() - started
        ends = Counter(mine.values_list("status", flat=True))
        self.stdout.write(f"{ends['recorded']} recorded, {ends['rejected']} rejected, {count / took:.0f} a second.")
        total = sum(account.balance_amount or 0 for account in Account.objects.filter(number__in=numbers))
        self.stdout.write(f"The accounts have {_money(total)} in all.")


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MOST_TRANSFERS:
        raise ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_TRANSFERS}")
    return int(text)


def _money(amount: int) -> str:
    return str(Money(amount, CURRENCY))
