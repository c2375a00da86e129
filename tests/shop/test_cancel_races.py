"""A cancel raced against the checkout at every boundary: one of them wins, and nobody pays for nothing.

The checkout is driven by hand, one thing at a time. The cancel comes before each commit, and between each call
and the commit that records it. The boundaries are found by running it, not listed.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sagas.attempts import Call
from sagas.driver import drain_due
from sagas.engine import record, work
from sagas.models import SagaInstance
from shop import after_sales
from shop.after_sales import Asked, ask_to_cancel
from shop.models import Order, Product
from tests.racing import race
from tests.sandbox.processes import SandboxProcess
from tests.shop.books import how_it_ended, let_time_pass, nothing_moves
from tests.shop.shopping import place

pytestmark = pytest.mark.django_db(transaction=True)

# Of each remote step: before its intent, before its call, before its record. One of each local step, and the end.
BOUNDARIES = [
    "before anything",
    "after validate_order",
    "after reserve_stock",
    "before the call of authorize_payment",
    "before the record of authorize_payment",
    "after authorize_payment",
    "before the call of book_shipment",
    "before the record of book_shipment",
    "after book_shipment",
    "before the call of capture_payment",
    "before the record of capture_payment",
    "after capture_payment",
    "after confirm_order",
    "before the call of send_confirmation",
    "before the record of send_confirmation",
    "after send_confirmation",
]
PAST_THE_PIVOT = BOUNDARIES[BOUNDARIES.index("before the call of capture_payment") :]


def boundaries(order: Order) -> Iterator[str]:
    """Drive the checkout of an order as far as it goes, and stop before everything it does. Yields where it stands."""
    saga = SagaInstance.objects.get(definition="shop.checkout", business_key=order.number)
    yield "before anything"
    while (done := work(saga.pk)) is not None:
        if isinstance(done, Call):
            yield f"before the call of {done.step.name}"
            outcome = done.make()
            yield f"before the record of {done.step.name}"
            record(done, outcome)
        last = saga.steps.exclude(action__in=["PENDING", "WAITING"]).order_by("-updated_at").first()
        yield f"after {last.name}" if last else "after nothing"


def settle() -> None:
    """Drive everything to its end; what a dead worker left behind is taken up when its lease is over."""
    for _ in range(4):
        drain_due(20)
        if nothing_moves():
            return
        let_time_pass(minutes=2)
    raise AssertionError(list(SagaInstance.objects.values_list("definition", "status", "waiting_on")))


def cancel_at(boundary: str, *, and_die: bool) -> tuple[Order, Asked]:
    """Cancel an order while its checkout stands at ``boundary``; its worker goes on with what it has, or dies."""
    order, asked = place(("MUG", 2)), None
    for where in boundaries(order):
        if where == boundary and asked is None:
            asked = ask_to_cancel(order.number, "raced")
            if and_die:
                break
    assert asked is not None, f"the checkout was never {boundary}"
    return order, asked


def test_these_are_all_the_boundaries(mug: Product, bank: SandboxProcess, carrier: SandboxProcess) -> None:
    assert list(boundaries(place(("MUG", 2)))) == BOUNDARIES


@pytest.mark.parametrize("and_die", [False, True], ids=["worker lives", "worker dies"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_wherever_the_cancel_comes_everything_is_given_back_once(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess, boundary: str, and_die: bool
) -> None:
    order, asked = cancel_at(boundary, and_die=and_die)

    settle()

    past = boundary in PAST_THE_PIVOT
    assert asked.definition == ("shop.cancel_order" if past else "shop.checkout")
    assert how_it_ended(order, bank, carrier) == ("refunded" if past else "untouched")
    assert order.cancel_reason == "You asked us to cancel it: “raced”."
    assert ask_to_cancel(order.number).saga_id == asked.saga_id


@pytest.mark.parametrize("and_die", [False, True], ids=["worker lives", "worker dies"])
@pytest.mark.parametrize("boundary", PAST_THE_PIVOT)
def test_a_cancel_that_the_carrier_refuses_leaves_the_order_confirmed_and_paid(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess, boundary: str, and_die: bool
) -> None:
    order, _ = cancel_at(boundary, and_die=and_die)
    carrier.control(move=order.number, status="in_transit")

    settle()

    assert how_it_ended(order, bank, carrier) == "bought"
    assert order.status == "confirmed"


def test_a_checkout_that_turns_back_after_all_leaves_nothing_to_cancel(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess, settings: Any
) -> None:
    """The bank lets go of the money while the cancellation waits in line."""
    order, asked = place(("MUG", 2)), None
    for where in boundaries(order):
        if where == "before the call of capture_payment":
            asked = ask_to_cancel(order.number)
            [intent] = bank.ledger(order.number)
            key = {"Authorization": f"Bearer {settings.BANK_API_KEY}"}
            url = f"{bank.url}/v1/payment_intents/{intent['intent_id']}/cancel"
            assert requests.post(url, headers=key, timeout=30).status_code == 200

    settle()

    assert asked is not None
    cancellation = SagaInstance.objects.get(pk=asked.saga_id)
    assert (cancellation.status, cancellation.failure["code"]) == ("COMPENSATED", "not_confirmed")
    assert how_it_ended(order, bank, carrier) == "untouched"


@pytest.mark.parametrize("round_", range(5))
def test_cancels_and_workers_at_the_same_moment(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess, round_: int
) -> None:
    order = place(("MUG", 2))

    results = race([drain_due, lambda: ask_to_cancel(order.number), drain_due, lambda: ask_to_cancel(order.number)])
    settle()

    assert [result for result in results if isinstance(result, Exception)] == []
    assert results[1].saga_id == results[3].saga_id
    assert how_it_ended(order, bank, carrier) in ("untouched", "refunded")
    assert SagaInstance.objects.count() <= 2


def test_who_asks_while_the_same_wish_is_just_done_gets_the_same_answer(
    mug: Product, bank: SandboxProcess, carrier: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = place(("MUG", 2))
    look = after_sales._asked_to_cancel
    first: list[Asked] = []

    def look_then_let_another_be_faster(number: str) -> Asked | None:
        found = look(number)
        if not first:
            monkeypatch.setattr(after_sales, "_asked_to_cancel", look)
            first.append(ask_to_cancel(number))
            drain_due()
        return found

    monkeypatch.setattr(after_sales, "_asked_to_cancel", look_then_let_another_be_faster)
    second = ask_to_cancel(order.number)

    assert second.saga_id == first[0].saga_id
    assert how_it_ended(order, bank, carrier) == "untouched"
