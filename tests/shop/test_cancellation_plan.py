"""The plan of a cancellation, in memory: every step refused, lost, failing."""

from collections.abc import Callable
from typing import Any

import pytest

from sagas.testing import always, bug, lease_over, play, refused, transient, unknown
from shop.cancellation import CancelOrder
from shop.cancellation_steps import (
    cancel_shipment,
    check_confirmed,
    mark_cancelled,
    refund_payment,
    restock_goods,
    send_cancelled,
    tell_that_order_stands,
)

BEHIND_THE_PIVOT = [refund_payment, restock_goods, mark_cancelled, send_cancelled]
REMOTE_BEHIND_THE_PIVOT = [refund_payment, send_cancelled]


def test_all_goes_well() -> None:
    played = play(CancelOrder)

    assert played.status == "COMPLETED"
    assert played.trace == [
        "check_confirmed done",
        "cancel_shipment done",
        "refund_payment done",
        "restock_goods done",
        "mark_cancelled done",
        "send_cancelled done",
    ]


def test_an_order_that_is_not_confirmed_is_let_be() -> None:
    played = play(CancelOrder, {check_confirmed: refused("not_confirmed")})

    assert played.status == "COMPENSATED"
    assert played.trace == ["check_confirmed refused", "tell_that_order_stands done"]


def test_a_carrier_that_refuses_turns_the_cancellation_back_and_no_money_moves() -> None:
    played = play(CancelOrder, {cancel_shipment: refused("cancel_refused")})

    assert played.status == "COMPENSATED"
    assert played.state.failure == {"step": "cancel_shipment", "code": "cancel_refused", "message": "no"}
    assert played.trace[1:] == ["cancel_shipment refused", "tell_that_order_stands done"]
    assert played.action(refund_payment) == "PENDING"


def test_a_carrier_that_is_away_until_the_deadline_leaves_the_order_as_it_is() -> None:
    played = play(CancelOrder, {cancel_shipment: always(transient())})

    assert played.status == "COMPENSATED"
    assert played.state.failure is not None
    assert played.state.failure["code"] == "deadline"
    assert played.action(refund_payment) == "PENDING"


@pytest.mark.parametrize("lost", [unknown(), lease_over(), bug(definite=False)])
def test_a_lost_answer_of_the_carrier_is_asked_for_again(lost: Any) -> None:
    played = play(CancelOrder, {cancel_shipment: [lost, lost]})

    assert played.status == "COMPLETED"
    assert played.trace.count("cancel_shipment done") == 1


def test_a_carrier_whose_answer_never_comes_is_for_a_person_and_nothing_is_refunded() -> None:
    played = play(CancelOrder, {cancel_shipment: always(unknown())})

    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "OUTCOME_UNKNOWN")
    assert played.action(cancel_shipment) == "UNKNOWN"
    assert played.action(refund_payment) == "PENDING"


@pytest.mark.parametrize("step", BEHIND_THE_PIVOT)
def test_past_the_label_a_step_is_tried_until_it_succeeds(step: Callable[..., Any]) -> None:
    played = play(CancelOrder, {step: [transient()] * 100})

    assert played.status == "COMPLETED"
    assert tell_that_order_stands.__name__ not in " ".join(played.trace)


@pytest.mark.parametrize("lost", [unknown(), lease_over()])
@pytest.mark.parametrize("step", REMOTE_BEHIND_THE_PIVOT)
def test_past_the_label_a_lost_answer_is_asked_for_again(step: Callable[..., Any], lost: Any) -> None:
    assert play(CancelOrder, {step: [lost] * 3}).status == "COMPLETED"


@pytest.mark.parametrize("step", BEHIND_THE_PIVOT)
def test_past_the_label_a_no_is_for_a_person_and_never_undoes_anything(step: Callable[..., Any]) -> None:
    played = play(CancelOrder, {step: refused()})

    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "CONTRACT_VIOLATION")
    assert not played.state.backward


@pytest.mark.parametrize("step", [check_confirmed, *BEHIND_THE_PIVOT])
def test_a_bug_stops_the_cancellation_for_a_person(step: Callable[..., Any]) -> None:
    played = play(CancelOrder, {step: always(bug())})

    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")


def test_telling_that_the_order_stands_is_tried_until_it_succeeds() -> None:
    script = {cancel_shipment: refused("cancel_refused"), tell_that_order_stands: [transient()] * 50}

    assert play(CancelOrder, script).status == "COMPENSATED"
