"""The bank: money moves wholly or not at all, and PostgreSQL itself keeps the books."""

import pytest
from django.core import mail
from django.db import DatabaseError, IntegrityError, transaction

from examples.banking import steps
from examples.banking.exceptions import InvalidTransfer
from examples.banking.models import Account, LedgerEntry, Transfer
from examples.banking.saga import TransferMoney
from examples.banking.services import (
    Order,
    change_email,
    freeze_account,
    open_account,
    request_transfer,
    request_transfers,
)
from sagas.audit import audit
from sagas.driver import drain_due
from sagas.exceptions import LockTaken
from sagas.selectors import lock_holder, saga_of
from sagas.services import turn_back, wake
from sagas.testing import play, refused, transient

pytestmark = pytest.mark.django_db(transaction=True)

ORDER = Order("T-1", "ada", "bob", 300)
UNTOUCHED = {"ada": 1_000, "bob": 50}


@pytest.fixture
def bank() -> None:
    open_account("ada", "Ada", deposit=1_000, email="ada@bank.example", daily_limit=500)
    open_account("bob", "Bob", deposit=50, email="bob@bank.example")


def balances() -> dict[str, int]:
    return dict(Account.objects.filter(kind="customer").values_list("number", "balance_amount"))


def ledger(number: str = "T-1") -> list[tuple[str, str, int]]:
    entries = LedgerEntry.objects.filter(transfer__number=number).order_by("id")
    return list(entries.values_list("posting", "account__number", "amount"))


def end_of(number: str = "T-1") -> tuple[str, str]:
    return Transfer.objects.values_list("status", "reason").get(number=number)


def test_a_transfer_moves_money_and_tells_both_owners(bank):
    request_transfer(ORDER)

    drain_due()

    assert balances() == {"ada": 700, "bob": 350}
    assert end_of() == ("recorded", "")
    assert ledger() == [
        ("debited", "ada", -300),
        ("debited", "clearing", 300),
        ("credited", "clearing", -300),
        ("credited", "bob", 300),
    ]
    assert [(message.to, message.body) for message in mail.outbox] == [
        (["ada@bank.example"], "3.00 EUR went from your account to Bob."),
        (["bob@bank.example"], "3.00 EUR came to your account from Ada."),
    ]
    assert audit().violations == ()


def test_more_than_there_is_is_not_sent(bank):
    request_transfer(Order("T-1", "bob", "ada", 51))

    drain_due()

    assert balances() == UNTOUCHED
    assert end_of() == ("rejected", "There is less than 0.51 EUR on account bob.")
    assert ledger() == []


def test_an_account_that_takes_nothing_sends_the_money_back(bank):
    freeze_account("bob")
    request_transfer(ORDER)

    drain_due()

    assert balances() == UNTOUCHED
    assert end_of() == ("rejected", "Account bob is frozen.")
    assert ledger() == [
        ("debited", "ada", -300),
        ("debited", "clearing", 300),
        ("debit reversed", "clearing", -300),
        ("debit reversed", "ada", 300),
    ]
    assert audit().violations == ()


def test_a_transfer_over_the_daily_limit_takes_back_credit_and_debit(bank):
    request_transfer(ORDER)
    request_transfer(Order("T-2", "ada", "bob", 201))

    drain_due()

    assert balances() == {"ada": 700, "bob": 350}
    assert end_of("T-2") == ("rejected", "Account ada may send 5.00 EUR a day.")
    assert [posting for posting, _, _ in ledger("T-2")[::2]] == [
        "debited",
        "credited",
        "credit reversed",
        "debit reversed",
    ]
    assert audit().violations == ()


def test_a_notice_that_cannot_be_sent_holds_neither_the_money_nor_the_accounts(bank):
    change_email("bob", "bob at home")
    request_transfer(ORDER)

    drain_due()

    assert balances() == {"ada": 700, "bob": 350}
    assert end_of() == ("recorded", "")
    assert (lock_holder("banking.account", "ada"), lock_holder("banking.account", "bob")) == (None, None)
    assert mail.outbox == []

    change_email("bob", "bob@bank.example")
    wake(TransferMoney.name, "T-1", why="the address was corrected")
    drain_due()

    assert saga_of(TransferMoney.name, "T-1").status == "COMPLETED"
    assert len(mail.outbox) == 2


def test_a_transfer_can_be_cancelled_until_it_is_recorded(bank):
    request_transfer(ORDER)

    assert turn_back(TransferMoney, "T-1", why="the wrong account")
    drain_due()

    assert balances() == UNTOUCHED
    assert end_of() == ("rejected", "the wrong account")


# --- what is asked for ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "field"),
    [
        (Order("no spaces", "ada", "bob", 1), "number"),
        (Order("T-1", "eve", "bob", 1), "source"),
        (Order("T-1", "vault", "bob", 1), "source"),
        (Order("T-1", "ada", "eve", 1), "target"),
        (Order("T-1", "ada", "ada", 1), "target"),
        (Order("T-1", "ada", "bob", 0), "amount"),
        (Order("T-1", "ada", "bob", -1), "amount"),
        (Order("T-1", "ada", "bob", 10**12 + 1), "amount"),
    ],
)
def test_a_transfer_that_nobody_can_make_names_the_field(bank, order, field):
    with pytest.raises(InvalidTransfer) as refusal:
        request_transfer(order)

    assert refusal.value.field == field
    assert (Transfer.objects.filter(number=order.number).exists(), saga_of(TransferMoney.name, "T-1")) == (False, None)


def test_the_same_order_again_is_the_same_transfer(bank):
    first = request_transfer(ORDER)
    drain_due()

    assert request_transfer(ORDER).pk == first.pk
    drain_due()

    assert balances() == {"ada": 700, "bob": 350}
    with pytest.raises(InvalidTransfer, match="There is another transfer T-1") as refusal:
        request_transfer(Order("T-1", "ada", "bob", 301))
    assert refusal.value.field == "number"


def test_of_a_batch_those_that_meet_on_an_account_are_left_for_later(bank):
    open_account("eve", "Eve", deposit=100)
    open_account("kim", "Kim", deposit=100)
    open_account("lou", "Lou", deposit=100)
    orders = [ORDER, Order("T-2", "bob", "eve", 10), Order("T-3", "kim", "lou", 10)]

    left = request_transfers(orders)

    assert [order.number for order in left] == ["T-2"]
    assert set(Transfer.objects.values_list("number", flat=True)) >= {"T-1", "T-3"}
    assert not Transfer.objects.filter(number="T-2").exists()
    drain_due()
    assert request_transfers([*orders]) == []
    drain_due()
    assert balances() == {"ada": 700, "bob": 340, "eve": 110, "kim": 90, "lou": 110}


def test_a_batch_has_an_end(bank):
    with pytest.raises(InvalidTransfer) as refusal:
        request_transfers([Order(f"T-{place}", "ada", "bob", 1) for place in range(1_001)])

    assert refusal.value.field == "orders"
    assert not Transfer.objects.filter(number__startswith="T-").exists()


def test_the_transaction_of_the_caller_takes_the_transfer_with_it(bank):
    with transaction.atomic():
        request_transfer(ORDER)
        transaction.set_rollback(True)

    assert (Transfer.objects.filter(number="T-1").exists(), saga_of(TransferMoney.name, "T-1")) == (False, None)


# --- accounts that are held ---------------------------------------------------------------------------


def test_transfers_of_one_account_wait_in_line(bank):
    for place in range(5):
        request_transfer(Order(f"T-{place}", *(("ada", "bob") if place % 2 else ("bob", "ada")), 10 + place))

    waiting = [saga_of(TransferMoney.name, f"T-{place}").status for place in range(5)]
    drain_due()

    assert waiting == ["PENDING", "WAITING", "WAITING", "WAITING", "WAITING"]
    assert set(Transfer.objects.filter(number__startswith="T-").values_list("status", flat=True)) == {"recorded"}
    assert balances() == {"ada": 1_012, "bob": 38}


def test_an_account_is_not_frozen_while_a_transfer_is_under_way(bank):
    request_transfer(ORDER)

    with pytest.raises(LockTaken, match=r"banking\.account bob is held by banking.transfer"):
        freeze_account("bob")

    assert not Account.objects.get(number="bob").is_frozen


def test_postgresql_refuses_a_write_past_the_saga_that_holds_the_account(bank):
    request_transfer(ORDER)

    with pytest.raises(DatabaseError, match=r"banking\.account ada is held by saga"):
        Account.objects.filter(number="ada").update(balance_amount=0)

    assert balances() == UNTOUCHED


# --- the books ----------------------------------------------------------------------------------------


def test_postgresql_refuses_a_balance_below_zero(bank):
    with pytest.raises(IntegrityError, match="banking_balance_not_negative"):
        Account.objects.filter(number="ada").update(balance_amount=-1)


def test_postgresql_refuses_to_change_the_ledger(bank):
    with pytest.raises(DatabaseError, match="append-only"):
        LedgerEntry.objects.filter(amount__gt=0).update(amount=1)
    with pytest.raises(DatabaseError, match="append-only"):
        LedgerEntry.objects.all().delete()

    assert LedgerEntry.objects.count() == 4


def test_postgresql_refuses_one_side_of_a_posting(bank):
    transfer = Transfer.objects.get(number="deposit ada")

    with pytest.raises(IntegrityError, match="zero in sum"):
        LedgerEntry.objects.create(transfer=transfer, posting="credited", account=transfer.target, amount=1)


def test_a_posting_is_made_once(bank):
    paid_in = Transfer.objects.get(number="deposit ada")
    sides = [(paid_in.source, -1), (paid_in.target, 1)]

    with pytest.raises(IntegrityError, match="banking_posted_once"):
        LedgerEntry.objects.bulk_create(
            LedgerEntry(transfer=paid_in, posting="deposited", account=account, amount=amount)
            for account, amount in sides
        )


def test_the_auditor_finds_money_that_the_ledger_does_not_explain(bank):
    Account.objects.filter(number="ada").update(balance_amount=1_001)

    assert [str(violation) for violation in audit().violations] == [
        "The balance of an account is the sum of its ledger entries. ada: found 1001, expected 1000.",
        "What customers have and what is in transit is what was paid in. the whole bank: found 1051, expected 1050.",
    ]


def test_the_auditor_finds_a_transfer_that_says_what_did_not_happen(bank):
    request_transfer(ORDER)
    drain_due()
    Transfer.objects.filter(number="T-1").update(status="rejected", recorded_at=None)

    assert [(violation.subject, violation.found, violation.expected) for violation in audit().violations] == [
        ("T-1", "rejected", "recorded"),
        ("T-1", "-300 and 300", "0 and 0"),
    ]


# --- the plan --------------------------------------------------------------------------


def test_what_is_over_the_limit_is_taken_back_in_reverse():
    played = play(TransferMoney, {steps.record_transfer: refused("over_limit")})

    assert (played.status, played.trace) == (
        "COMPENSATED",
        [
            "debit_source done",
            "credit_target done",
            "record_transfer refused",
            "reverse_credit done",
            "reverse_debit done",
            "reject_transfer done",
        ],
    )


def test_a_notice_is_repeated_and_nothing_is_taken_back():
    played = play(TransferMoney, {steps.notify_owners: transient()})

    assert (played.status, played.trace[-2:]) == ("COMPLETED", ["notify_owners transient", "notify_owners done"])
