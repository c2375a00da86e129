"""The plan of a return, in memory: every step refused, lost, failing."""

from collections.abc import Callable
from typing import Any

import pytest

from sagas.testing import always, bug, lease_over, play, refused, transient, unknown
from shop.returning import ReturnOrder
from shop.returning_steps import (
    inspect_goods,
    parcel_back,
    refund_payment,
    send_returned,
    sort_goods,
    tell_why_not_returned,
)

BOTH = [parcel_back, inspect_goods]
BEHIND_THE_PIVOT = [sort_goods, send_returned]


def test_all_goes_well() -> None:
    played = play(ReturnOrder, signals=BOTH)

    assert played.status == "COMPLETED"
    assert played.trace == [
        "parcel_back done",
        "inspect_goods done",
        "refund_payment done",
        "sort_goods done",
        "send_returned done",
    ]


def test_a_parcel_that_never_comes_turns_the_return_back() -> None:
    played = play(ReturnOrder)

    assert played.status == "COMPENSATED"
    assert played.trace == ["tell_why_not_returned done"]
    assert played.state.failure == {
        "step": "parcel_back",
        "code": "timed_out",
        "message": "parcel_back did not come in time",
    }


def test_a_person_who_is_late_is_waited_for_with_attention() -> None:
    played = play(ReturnOrder, signals=[parcel_back])

    assert (played.status, played.state.attention) == ("WAITING", "inspect_goods is overdue")


def test_a_verdict_that_is_early_waits_for_the_parcel() -> None:
    played = play(ReturnOrder, signals=[inspect_goods])

    assert played.status == "COMPENSATED"
    assert played.action(inspect_goods) == "PENDING"


def test_goods_that_are_not_accepted_turn_the_return_back_and_no_money_moves() -> None:
    played = play(ReturnOrder, {inspect_goods: refused("not_accepted", "worn")}, signals=BOTH)

    assert played.status == "COMPENSATED"
    assert played.trace == ["parcel_back done", "inspect_goods refused", "tell_why_not_returned done"]
    assert played.action(refund_payment) == "PENDING"


def test_a_refund_that_is_refused_turns_the_return_back() -> None:
    played = play(ReturnOrder, {refund_payment: refused("already_refunded")}, signals=BOTH)

    assert played.status == "COMPENSATED"
    assert played.action(sort_goods) == "PENDING"


@pytest.mark.parametrize("lost", [unknown(), lease_over(), bug(definite=False)])
def test_a_lost_answer_of_the_bank_is_asked_for_again(lost: Any) -> None:
    played = play(ReturnOrder, {refund_payment: [lost, lost]}, signals=BOTH)

    assert played.status == "COMPLETED"
    assert played.trace.count("refund_payment done") == 1


def test_a_refund_whose_answer_never_comes_is_for_a_person() -> None:
    played = play(ReturnOrder, {refund_payment: always(unknown())}, signals=BOTH)

    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "OUTCOME_UNKNOWN")
    assert played.compensation(refund_payment) == "NOT_NEEDED"


def test_a_bank_that_is_away_too_long_turns_the_return_back_without_an_effect() -> None:
    played = play(ReturnOrder, {refund_payment: always(transient())}, signals=BOTH)

    assert played.status == "COMPENSATED"
    assert played.action(refund_payment) == "FAILED"


@pytest.mark.parametrize("step", BEHIND_THE_PIVOT)
def test_past_the_refund_a_step_is_tried_until_it_succeeds(step: Callable[..., Any]) -> None:
    assert play(ReturnOrder, {step: [transient()] * 100}, signals=BOTH).status == "COMPLETED"


@pytest.mark.parametrize("step", BEHIND_THE_PIVOT)
def test_past_the_refund_a_no_is_for_a_person_and_never_undoes_anything(step: Callable[..., Any]) -> None:
    played = play(ReturnOrder, {step: refused()}, signals=BOTH)

    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "CONTRACT_VIOLATION")
    assert not played.state.backward


@pytest.mark.parametrize("step", [*BOTH, *BEHIND_THE_PIVOT])
def test_a_bug_stops_the_return_for_a_person(step: Callable[..., Any]) -> None:
    played = play(ReturnOrder, {step: always(bug())}, signals=BOTH)

    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")


def test_telling_the_customer_why_is_tried_until_it_succeeds() -> None:
    assert play(ReturnOrder, {tell_why_not_returned: [transient()] * 50}).status == "COMPENSATED"
