"""The bank while everything breaks: each boundary of one transfer, and many transfers at once."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from itertools import count, islice
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from examples.banking.audit import account_violations
from examples.banking.models import Account, LedgerEntry, Transfer
from examples.banking.saga import TransferMoney
from examples.banking.services import Order, freeze_account, open_account, request_transfer, request_transfers
from sagas.audit import Scope, audit
from sagas.driver import drain_due, stop
from sagas.models import SagaInstance, SemanticLock
from sagas.testing import Witness, verify
from sagas.testing.boundaries import Boundary, Saboteur
from sagas.testing.disturbances import DISTURBANCES, Disturbance
from sagas.testing.workers import Child, no_survivors
from tests.thinning import FULL, SEED, share_of, told

pytestmark = [pytest.mark.verify, pytest.mark.django_db(transaction=True)]


# --- one transfer, broken at every boundary -------------------------------------------------------------


class Bank:
    """What `verify` asks: the ledger, and every notice that lies in the mailbox."""

    def __init__(self, mailbox: Path) -> None:
        self.mailbox = mailbox

    def rebuild(self) -> None:
        with connection.cursor() as cursor:
            # The ledger lets nobody delete from it.
            cursor.execute("TRUNCATE banking_ledgerentry, banking_transfer, banking_account")
        for mail in self.mailbox.iterdir():
            mail.unlink()
        open_account("ada", "Ada", deposit=1_000, email="ada@bank.example", daily_limit=500)
        open_account("bob", "Bob", deposit=50, email="bob@bank.example")

    def witness(self) -> Witness:
        ada, bob = (Account.objects.get(number=number).balance_amount for number in ("ada", "bob"))
        notices = len(self._notices())
        there = {
            "debit_source": ada != 1_000,
            "credit_target": bob != 50,
            "record_transfer": Transfer.objects.filter(number="T-1", status="recorded").exists(),
            "notify_owners": notices > 0,
        }
        entries = LedgerEntry.objects.filter(transfer__number="T-1", amount__lt=0)
        posted = Counter(entries.values_list("posting", flat=True))
        taken = {
            "debit_source:action": posted["debited"],
            "debit_source:compensation": posted["debit reversed"],
            "credit_target:action": posted["credited"],
            "credit_target:compensation": posted["credit reversed"],
            # One to each owner; a copy has its Message-ID.
            "notify_owners:action": (notices + 1) // 2,
        }
        return Witness(taken, frozenset(step for step, is_there in there.items() if is_there))

    def _notices(self) -> set[str]:
        mails = [text for file in self.mailbox.iterdir() for text in file.read_bytes().split(b"-" * 79 + b"\n")]
        return {str(message_from_bytes(text)["Message-ID"]) for text in mails if text.strip()}


def test_a_transfer_withstands_everything(tmp_path: Path, settings: Any):
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = tmp_path

    proof = verify(
        TransferMoney,
        start=lambda: request_transfer(Order("T-1", "ada", "bob", 300)),
        world=Bank(tmp_path),
        share=share_of(0.05),
        seed=SEED,
    )

    told.append(f"transfer: {str(proof).splitlines()[0]}")
    assert (proof.violations, proof.never_passed) == ([], [])


# --- many transfers, workers that die and errors at commits and calls ----------------------------------------

TRANSFERS = int(os.environ.get("TRANSFERS") or (1_000 if FULL else 150))
ACCOUNTS = 100
IN_ALL = ACCOUNTS * 100_000
AT_ONCE = 25
WORKERS = 2
PLACES = 400
SECONDS = 10
PATIENCE_S = 300
TROUBLES = [
    trouble
    for trouble in DISTURBANCES
    if trouble.name in ("kill", "commit failed", "commit unanswered", "done, lost", "transient", "fails once")
]


class Life(Saboteur):
    """One trouble, and an end after so many places, however fast the machine is."""

    def __call__(self, name: str) -> None:
        if len(self.passed) >= PLACES:
            stop()
        super().__call__(name)


def start_worker(trouble: Disturbance, place: int) -> Child:
    """A process that drives sagas, meets its trouble from the given place on, and goes on if it survives that."""

    def trigger(here: Boundary, passed: int) -> bool:
        return passed >= place and trouble.strikes(here)

    def strike() -> None:
        child.tell("struck", trouble.name)
        if trouble.act is not None:
            trouble.act()
        elif trouble.answer is not None:
            raise trouble.answer()

    child = Child(lambda _: drain_due(SECONDS) and None, Life(trigger=trigger, act=strike))
    return child.start()


def random_orders(draw: random.Random, accounts: list[str]) -> Iterator[Order]:
    for place in count():
        source, target = draw.sample(accounts, 2)
        yield Order(f"T-{place}", source, target, draw.randint(1, 80_000))


def end_pauses() -> None:
    """Nobody waits for the end of a lease or a backoff; who stands in line is not woken for nothing."""
    paused = SagaInstance.objects.filter(blocked_on="", wake_at__gt=Now(), ended_at=None)
    paused.update(wake_at=Now())


def under_way() -> bool:
    return Transfer.objects.filter(status="requested").exists() or SagaInstance.objects.filter(ended_at=None).exists()


def test_money_is_conserved_whatever_breaks():
    """As many transfers as ``TRANSFERS`` says, many in line for the same account, until each trouble has struck."""
    draw = random.Random(SEED)
    accounts = [f"A-{place:02}" for place in range(ACCOUNTS)]
    for number in accounts:
        open_account(number, f"Customer {number}", deposit=100_000, daily_limit=250_000)
    freeze_account(accounts[0])
    orders = random_orders(draw, accounts)
    struck = Counter({trouble.name: 0 for trouble in TROUBLES})
    requested, give_up_at = 0, monotonic() + PATIENCE_S

    with no_survivors():
        while (requested < TRANSFERS or not all(struck.values()) or under_way()) and monotonic() < give_up_at:
            rarest = sorted(TROUBLES, key=lambda trouble: struck[trouble.name])[:WORKERS]
            workers = [start_worker(trouble, draw.randint(1, PLACES // 4)) for trouble in rarest]
            if requested < TRANSFERS or not all(struck.values()):
                for order in request_transfers(list(islice(orders, AT_ONCE))):
                    request_transfer(order)
                requested += AT_ONCE
            # Also while they are under way.
            assert list(account_violations(Scope())) == []
            for worker in workers:
                worker.wait()
                assert worker.broke == []
                struck.update(line[1] for line in worker.told if line[0] == "struck")
            end_pauses()

    ends = Counter(Transfer.objects.filter(number__startswith="T-").values_list("status", flat=True))
    told.append(f"{requested} transfers, seed {SEED}: {dict(ends)}, struck {dict(struck)}")
    assert not under_way()
    assert all(struck.values())
    assert ends["recorded"] + ends["rejected"] == requested
    assert min(ends.values()) > 0
    assert set(SagaInstance.objects.values_list("status", flat=True)) == {"COMPLETED", "COMPENSATED"}
    assert sum(Account.objects.filter(kind="customer").values_list("balance_amount", flat=True)) == IN_ALL
    assert not SemanticLock.objects.exists()
    assert audit().violations == ()
