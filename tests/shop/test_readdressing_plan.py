"""The plan of a change of address, in memory: every step refused, lost, failing."""

from typing import Any

import pytest

from sagas.testing import always, bug, lease_over, play, refused, transient, unknown
from shop.readdressing import ChangeAddress
from shop.readdressing_steps import (
    book_new_parcel,
    cancel_new_parcel,
    cancel_old_parcel,
    check_not_sent,
    send_readdressed,
    tell_that_address_stands,
)

BACK = ["cancel_new_parcel done", "tell_that_address_stands done"]


def test_all_goes_well() -> None:
    played = play(ChangeAddress)

    assert played.status == "COMPLETED"
    assert played.trace == [
        "check_not_sent done",
        "book_new_parcel done",
        "cancel_old_parcel done",
        "send_readdressed done",
    ]


def test_an_order_that_is_not_confirmed_is_let_be() -> None:
    played = play(ChangeAddress, {check_not_sent: refused()})

    assert played.trace == ["check_not_sent refused", "tell_that_address_stands done"]


def test_an_address_that_the_carrier_does_not_serve_changes_nothing() -> None:
    played = play(ChangeAddress, {book_new_parcel: refused("booking_refused")})

    assert played.status == "COMPENSATED"
    assert played.trace[1:] == ["book_new_parcel refused", "tell_that_address_stands done"]


def test_an_old_parcel_on_its_way_costs_the_new_one() -> None:
    played = play(ChangeAddress, {cancel_old_parcel: refused("cancel_refused")})

    assert played.status == "COMPENSATED"
    assert played.trace[2:] == ["cancel_old_parcel refused", *BACK]


def test_a_booking_whose_answer_never_comes_is_cancelled_as_if_it_were_there() -> None:
    played = play(ChangeAddress, {book_new_parcel: always(unknown())})

    assert played.status == "COMPENSATED"
    assert played.trace[-2:] == BACK


@pytest.mark.parametrize("lost", [unknown(), lease_over(), bug(definite=False)])
@pytest.mark.parametrize("step", [book_new_parcel, cancel_old_parcel])
def test_a_lost_answer_is_asked_for_again(step: Any, lost: Any) -> None:
    assert play(ChangeAddress, {step: [lost, lost]}).status == "COMPLETED"


def test_an_old_label_of_which_nobody_knows_is_for_a_person_and_both_parcels_stay() -> None:
    played = play(ChangeAddress, {cancel_old_parcel: always(unknown())})

    assert (played.status, played.state.suspend_reason) == ("SUSPENDED", "OUTCOME_UNKNOWN")
    assert played.compensation(book_new_parcel) == "NOT_NEEDED"


def test_what_has_to_succeed_is_tried_until_it_does() -> None:
    assert play(ChangeAddress, {send_readdressed: [transient()] * 100}).status == "COMPLETED"
    script = {
        cancel_old_parcel: refused(),
        cancel_new_parcel: [transient()] * 50,
        tell_that_address_stands: [transient()] * 50,
    }
    assert play(ChangeAddress, script).status == "COMPENSATED"


def test_a_cancel_before_the_old_label_gives_the_new_one_back() -> None:
    played = play(ChangeAddress, turn_back_after=2)

    assert played.status == "COMPENSATED"
    assert played.trace[-2:] == BACK
