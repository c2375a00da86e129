"""``manage.py banking``: the story it tells, and that it leaves the books right."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from sagas.audit import audit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("fail", "line", "end"),
    [
        (None, "  + notify_owners done", "The transfer is recorded."),
        ("debit", "  x debit_source refused: There is less", "The transfer is rejected: There is less than 300.00"),
        ("credit", "  - takes back debit_source done", "is frozen."),
        ("record", "  - takes back credit_target done", "may send 299.99 EUR a day."),
        ("notify", "  ? notify_owners transient: “ada at home”", "The transfer is recorded."),
    ],
)
def test_the_command_tells_what_happens(fail, line, end):
    out = StringIO()

    call_command("banking", fail=fail, stdout=out)

    assert line in out.getvalue()
    assert end in out.getvalue().splitlines()[-1]
    assert audit().violations == ()


def test_the_command_tells_what_happens_in_its_order():
    out = StringIO()

    call_command("banking", fail="debit", stdout=out)

    told = [line[:24] for line in out.getvalue().splitlines() if line.startswith(("  x", "  -"))]
    assert told == ["  x debit_source refused", "  - takes back request_t"]
    assert "Its ledger is empty." in out.getvalue()


def test_the_command_moves_many_and_loses_nothing():
    out = StringIO()

    call_command("banking", transfers=20, stdout=out)

    assert "20 transfers between 20 accounts with 20000.00 EUR in all." in out.getvalue()
    assert out.getvalue().splitlines()[-1] == "The accounts have 20000.00 EUR in all."
    assert audit().violations == ()


def test_one_transfer_fails_as_told_or_many_by_chance():
    with pytest.raises(CommandError, match="--fail is for one transfer"):
        call_command("banking", fail="debit", transfers=2)
    with pytest.raises(CommandError, match="'0' is not a number from 1 to 10000"):
        call_command("banking", "--transfers", "0")
