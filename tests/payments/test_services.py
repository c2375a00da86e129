import pytest
from django.db import IntegrityError, transaction

from money import Money
from payments import services
from payments.exceptions import (
    AlreadyCaptured,
    AlreadyVoided,
    ContradictoryAnswer,
    NotAuthorized,
    PaymentMismatch,
    RefundExceedsCapture,
    UnknownPayment,
    UnknownRefund,
)
from payments.gateway import Authorization, AuthorizationRequest, Capture, RefundReceipt, RefundRequest, VoidRequest
from payments.models import Payment, Refund
from payments.selectors import MoneyViolation, money_violations, payment_of

pytestmark = pytest.mark.django_db

PRICE = Money(1999, "EUR")
HELD = Authorization("pi_1", 1999, "EUR")
TAKEN = Capture("pi_1", 1999, "EUR")


@pytest.fixture(autouse=True)
def _the_books_balance():
    yield
    assert money_violations() == []


def open_payment(key="key-1", price=PRICE):
    return services.open_payment("S-1", price, "pm_card_visa", key=key)


def captured_payment():
    open_payment()
    services.record_authorized("S-1", HELD)
    services.record_captured("S-1", TAKEN)


def status():
    view = payment_of("S-1")
    return view and view.status


def test_the_intent_is_stored_once_before_any_call():
    first, second = open_payment(), open_payment()

    assert first == second == AuthorizationRequest("S-1", 1999, "EUR", "pm_card_visa")
    assert Payment.objects.count() == 1
    assert status() == "UNKNOWN"


def test_the_same_reference_for_another_amount_is_refused():
    open_payment()

    with pytest.raises(PaymentMismatch):
        open_payment(price=Money(1, "EUR"))

    assert payment_of("S-1").amount == 1999


def test_a_payment_goes_from_authorized_to_captured_and_repeats_change_nothing():
    open_payment()
    services.record_authorized("S-1", HELD)
    services.record_authorized("S-1", HELD)
    request = services.begin_capture("S-1")
    services.record_captured("S-1", TAKEN)
    services.record_captured("S-1", TAKEN)
    services.record_authorized("S-1", HELD)

    assert (request.intent_id, request.amount, request.currency) == ("pi_1", 1999, "EUR")
    assert (status(), payment_of("S-1").captured) == ("CAPTURED", 1999)


def test_a_second_authorization_with_another_intent_does_not_replace_the_first():
    open_payment()
    services.record_authorized("S-1", HELD)

    with pytest.raises(ContradictoryAnswer):
        services.record_authorized("S-1", Authorization("pi_2", 1999, "EUR"))

    assert Payment.objects.get().intent_id == "pi_1"


def test_a_decline_is_kept_in_the_shoppers_words():
    open_payment()

    services.record_declined("S-1", "insufficient_funds", "The card does not have enough money for this order.")

    view = payment_of("S-1")
    assert (view.status, view.decline_code) == ("DECLINED", "insufficient_funds")
    assert view.decline_message == "The card does not have enough money for this order."


def test_a_declined_payment_can_be_tried_again_with_a_new_key_only():
    open_payment("key-1")
    services.record_declined("S-1", "generic_decline", "No.")

    open_payment("key-1")
    assert status() == "DECLINED"
    services.open_payment("S-1", PRICE, "pm_card_mastercard", key="key-2")

    assert status() == "UNKNOWN"
    assert Payment.objects.get().authorization_key == "key-2"


def test_a_decline_after_the_authorization_contradicts_it():
    open_payment()
    services.record_authorized("S-1", HELD)

    with pytest.raises(ContradictoryAnswer):
        services.record_declined("S-1", "generic_decline", "No.")

    assert status() == "AUTHORIZED"


def test_a_void_of_a_payment_never_made_leaves_a_tombstone():
    assert services.begin_void("S-1") == VoidRequest("S-1", "", None, None)
    assert services.begin_void("S-1") == VoidRequest("S-1", "", None, None)
    services.record_voided("S-1")

    with pytest.raises(AlreadyVoided):
        open_payment()
    assert (status(), payment_of("S-1").amount) == ("VOIDED", 0)


def test_a_void_of_an_unknown_payment_carries_what_finds_its_intent():
    open_payment("key-1")

    request = services.begin_void("S-1")

    assert request == VoidRequest("S-1", "key-1", AuthorizationRequest("S-1", 1999, "EUR", "pm_card_visa"), None)
    assert status() == "VOIDING"


@pytest.mark.parametrize("finished", [False, True])
def test_a_late_authorization_is_refused_from_the_moment_the_void_begins(finished):
    open_payment()
    services.begin_void("S-1")
    if finished:
        services.record_voided("S-1")

    with pytest.raises(AlreadyVoided):
        services.record_authorized("S-1", HELD)
    with pytest.raises(AlreadyVoided):
        services.begin_capture("S-1")
    services.record_declined("S-1", "generic_decline", "No.")

    assert status() == ("VOIDED" if finished else "VOIDING")


def test_a_captured_payment_is_not_voided():
    captured_payment()

    with pytest.raises(AlreadyCaptured):
        services.begin_void("S-1")
    with pytest.raises(ContradictoryAnswer):
        services.record_voided("S-1")

    assert status() == "CAPTURED"


def test_a_declined_payment_stays_declined_when_it_is_voided():
    open_payment()
    services.record_declined("S-1", "generic_decline", "No.")

    services.begin_void("S-1")
    services.record_voided("S-1")

    assert status() == "DECLINED"


def test_what_is_not_authorized_is_not_captured():
    with pytest.raises(UnknownPayment):
        services.begin_capture("S-1")
    open_payment()
    with pytest.raises(NotAuthorized):
        services.begin_capture("S-1")


def test_a_refund_is_stored_before_the_call_and_counted_once():
    captured_payment()

    request = services.begin_refund("S-1", "R-1", Money(500, "EUR"))
    assert request == services.begin_refund("S-1", "R-1", Money(500, "EUR"))
    assert payment_of("S-1").refunded == 0
    services.record_refunded("R-1", RefundReceipt("re_1", 500, "EUR"))
    services.record_refunded("R-1", RefundReceipt("re_1", 500, "EUR"))

    assert request == RefundRequest("R-1", "S-1", "pi_1", 500, "EUR")
    assert payment_of("S-1").refunded == 500


def test_refunds_under_way_count_against_what_was_captured():
    captured_payment()
    services.begin_refund("S-1", "R-1", Money(1500, "EUR"))

    with pytest.raises(RefundExceedsCapture):
        services.begin_refund("S-1", "R-2", Money(500, "EUR"))

    assert Refund.objects.get().refund_reference == "R-1"


def test_a_refund_reference_stands_for_one_amount():
    captured_payment()
    services.begin_refund("S-1", "R-1", Money(500, "EUR"))

    with pytest.raises(PaymentMismatch):
        services.begin_refund("S-1", "R-1", Money(501, "EUR"))
    with pytest.raises(PaymentMismatch):
        services.begin_refund("S-1", "R-2", Money(500, "USD"))
    services.record_refunded("R-1", RefundReceipt("re_1", 500, "EUR"))
    with pytest.raises(ContradictoryAnswer):
        services.record_refunded("R-1", RefundReceipt("re_2", 500, "EUR"))
    with pytest.raises(UnknownRefund):
        services.record_refunded("R-9", RefundReceipt("re_1", 500, "EUR"))


@pytest.mark.parametrize(
    "columns",
    [
        {"refunded_amount": 2000},
        {"refunded_amount": -1},
        {"captured_amount": 2000},
        {"authorized_amount": 1998},
        {"status": "PAID"},
        {"status": "AUTHORIZED"},
        {"intent_id": None},
    ],
)
def test_the_database_refuses_amounts_and_statuses_that_cannot_be(columns):
    captured_payment()

    with pytest.raises(IntegrityError), transaction.atomic():
        Payment.objects.update(**columns)


def test_the_invariants_name_the_payment_whose_figures_disagree():
    captured_payment()
    Payment.objects.update(refunded_amount=1)

    assert money_violations() == [MoneyViolation("refunded is the sum of the succeeded refunds", "S-1", 1, 0)]
    Payment.objects.update(refunded_amount=0)
