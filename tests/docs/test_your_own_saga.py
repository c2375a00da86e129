"""docs/your-own-saga.md: its code is that of `tickets.py`, and it works."""

import re
from pathlib import Path

import pytest
from django.db import transaction

from sagas.driver import drain_due
from sagas.exceptions import LockTaken
from sagas.models import SagaInstance
from sagas.services import start
from sagas.testing import play, refused, unknown
from tests.docs import tickets
from tests.docs.tickets import BuyTicket, CardService, Purchase, charge_card

HERE = Path(__file__).parent
BLOCKS = re.findall(r"```python\n(.*?)```", (HERE.parents[1] / "docs" / "your-own-saga.md").read_text(), re.S)


@pytest.fixture
def world(transactional_db: None) -> None:
    tickets.SEATS.clear()
    tickets.TICKETS.clear()
    tickets.cards.__init__()  # type: ignore[misc]


def buy(number: str = "P-1", seat: str = "7A") -> SagaInstance:
    with transaction.atomic():
        purchase = Purchase(number, seat=seat, cents=2_500)
        return start(BuyTicket, purchase, key=purchase.number)


def run(saga: SagaInstance) -> str:
    drain_due()
    SagaInstance.objects.filter(pk=saga.pk, status="WAITING").update(wake_at=saga.created_at)
    saga.steps.filter(action__in=["WAITING", "UNKNOWN"]).update(due_at=saga.created_at)
    drain_due()
    saga.refresh_from_db()
    return saga.status


def test_every_code_block_stands_in_a_file_that_is_run():
    files = (HERE / "tickets.py", Path(__file__), HERE.parent / "examples" / "test_travel.py")
    code = "".join(file.read_text() for file in files)
    squeezed = re.sub(r"\s+", " ", code)

    assert len(BLOCKS) == 10
    for block in BLOCKS:
        for paragraph in block.strip().split("\n\n"):
            assert re.sub(r"\s+", " ", paragraph).strip() in squeezed or "start(BuyTicket" in paragraph


@pytest.mark.parametrize(
    "named", ["transaction", "start", "play", "refused", "unknown", "verify", "Witness", "share_of"]
)
def test_the_page_says_where_what_it_uses_comes_from(named: str):
    page = (HERE.parents[1] / "docs" / "your-own-saga.md").read_text()

    imported = rf"^(from .*)?import .*\b{named}\b"
    assert re.search(imported, page, re.M) or re.search(rf"`{named}`[^.]*\bin `(sagas|tests)", page)


def test_a_declined_card_frees_the_seat():
    played = play(BuyTicket, {charge_card: refused("declined")})

    assert played.status == "COMPENSATED"
    assert played.trace == ["hold_seat done", "charge_card refused", "free_seat done", "forget_purchase done"]


def test_a_lost_answer_is_asked_for():
    played = play(BuyTicket, {charge_card: unknown()})

    assert played.status == "COMPLETED"
    assert played.trace == ["hold_seat done", "charge_card unknown", "charge_card done", "print_ticket done"]


def test_a_ticket_is_bought(world: None):
    assert run(buy()) == "COMPLETED"
    assert tickets.SEATS == {"7A": "P-1"}
    assert {"7A paid with ch_1"} == tickets.TICKETS


def test_a_card_that_is_declined_leaves_nothing(world: None):
    tickets.cards.accident = CardService.Declined("no")

    assert run(buy()) == "COMPENSATED"
    assert (tickets.SEATS, tickets.TICKETS, tickets.cards.charges) == ({}, set(), {})


def test_a_lost_answer_charges_once(world: None):
    tickets.cards.loses_answer = True

    assert run(buy()) == "COMPLETED"
    assert list(tickets.cards.charges.values()) == ["ch_1"]
    assert {"7A paid with ch_1"} == tickets.TICKETS


def test_two_cannot_buy_one_seat_at_a_time(world: None):
    buy("P-1")

    with pytest.raises(LockTaken):
        buy("P-2")
