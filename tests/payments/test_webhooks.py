import hashlib
import hmac
import itertools
import json
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from money import Money
from payments import services
from payments.exceptions import InvalidEvent
from payments.gateway import Authorization, Capture, RefundReceipt
from payments.models import GatewayEvent, Payment, Refund
from payments.selectors import money_violations
from payments.webhooks import KEPT_OPEN
from tests.racing import race

pytestmark = pytest.mark.django_db

SECRET = "whsec_now"


@pytest.fixture(autouse=True)
def payment(settings):
    settings.BANK_WEBHOOK_SECRETS = [SECRET, "whsec_before"]
    return services.open_payment("S-1", Money(1999, "EUR"), "pm_card_visa", key="key-1")


def intent(**columns):
    return {
        "id": "pi_1",
        "amount": 1999,
        "amount_capturable": 0,
        "amount_received": 0,
        "currency": "eur",
        "metadata": {"reference": "S-1"},
        **columns,
    }


def event(kind, subject, event_id="evt_1"):
    return json.dumps({"id": event_id, "type": kind, "data": {"object": subject}}).encode()


def signature(body, secret=SECRET, at=None):
    stamp = str(int(time.time() if at is None else at))
    return f"t={stamp},v1={hmac.new(secret.encode(), f'{stamp}.'.encode() + body, hashlib.sha256).hexdigest()}"


def receive(body):
    return services.receive_event(body, signature(body))


AUTHORIZED = event("payment_intent.amount_capturable_updated", intent(amount_capturable=1999), "evt_authorized")
CAPTURED = event("payment_intent.succeeded", intent(amount_received=1999), "evt_captured")
FAILED = event(
    "payment_intent.payment_failed",
    intent(last_payment_error={"code": "card_declined", "decline_code": "insufficient_funds"}),
    "evt_failed",
)
CANCELLED = event("payment_intent.canceled", intent(), "evt_cancelled")


def status():
    return Payment.objects.get(reference="S-1").status


def test_a_webhook_that_comes_before_our_own_answer_ends_in_the_same_row():
    receipt = receive(AUTHORIZED)
    services.record_authorized("S-1", Authorization("pi_1", 1999, "EUR"))

    assert (receipt.reference, receipt.is_new, receipt.status) == ("S-1", True, "APPLIED")
    assert status() == "AUTHORIZED"


def test_a_webhook_after_our_own_answer_changes_nothing():
    services.record_authorized("S-1", Authorization("pi_1", 1999, "EUR"))

    assert receive(AUTHORIZED).status == "SUPERSEDED"
    assert status() == "AUTHORIZED"


def test_a_decline_by_webhook_is_recorded():
    assert receive(FAILED).status == "APPLIED"
    assert Payment.objects.values_list("status", "decline_code").get() == ("DECLINED", "insufficient_funds")


@pytest.mark.parametrize("order", list(itertools.permutations([AUTHORIZED, CAPTURED, AUTHORIZED])))
def test_in_whatever_order_they_come_the_payment_never_goes_back(order):
    for body in order:
        receive(body)

    assert status() == "CAPTURED"
    assert GatewayEvent.objects.filter(status="OPEN").count() == 0
    assert money_violations() == []


def test_a_repeated_event_is_stored_once():
    first, second = receive(AUTHORIZED), receive(AUTHORIZED)

    assert (first.is_new, second.is_new) == (True, False)
    assert second.status == "APPLIED"
    assert GatewayEvent.objects.get().payload == AUTHORIZED.decode()


@pytest.mark.parametrize(
    "body",
    [
        event("payment_intent.succeeded", intent(amount=5, amount_received=5)),
        event("payment_intent.succeeded", intent(currency="usd", amount_received=1999)),
        event("payment_intent.succeeded", intent(amount_received=1)),
        event("payment_intent.amount_capturable_updated", intent(amount_capturable=1)),
        event("payment_intent.succeeded", {"metadata": {"reference": "S-1"}}),
    ],
    ids=["other amount", "other currency", "captured less", "held less", "without fields"],
)
def test_amounts_are_compared_not_believed(body):
    assert receive(body).status == "OPEN"
    assert status() == "UNKNOWN"


def test_what_another_intent_of_the_order_holds_or_takes_is_to_be_given_back():
    services.record_authorized("S-1", Authorization("pi_0", 1999, "EUR"))

    assert [receive(AUTHORIZED).status, receive(CAPTURED).status] == ["LATE", "LATE"]
    assert [receive(FAILED).status, receive(CANCELLED).status] == ["SUPERSEDED", "SUPERSEDED"]
    assert status() == "AUTHORIZED"


@pytest.mark.parametrize("body", [AUTHORIZED, CAPTURED], ids=["held", "taken"])
def test_money_that_comes_after_the_void_is_to_be_given_back_until_it_is(body):
    services.begin_void("S-1")
    services.record_voided("S-1")

    receipt = receive(body)

    assert (receipt.status, receipt.is_late_money, status()) == ("LATE", True, "VOIDED")
    money = services.late_money(receipt.event_id)
    assert (money.intent_id, money.amount, money.currency, money.captured) == ("pi_1", 1999, "EUR", body is CAPTURED)
    assert [again.is_late_money for again in services.apply_pending_events()] == [True]

    services.record_given_back(receipt.event_id)

    assert services.apply_pending_events() == []
    assert receive(body).status == "APPLIED"
    assert GatewayEvent.objects.values_list("status", "note").get() == ("APPLIED", "given back")


def test_money_taken_during_the_void_is_given_back_when_the_void_is_done():
    services.begin_void("S-1")
    assert receive(CAPTURED).status == "OPEN"

    services.record_voided("S-1")

    assert [receipt.is_late_money for receipt in services.apply_pending_events()] == [True]


def test_the_refund_of_late_money_is_no_news():
    services.begin_void("S-1")
    services.record_voided("S-1")
    late = receive(CAPTURED)
    refund = {"id": "re_1", "amount": 1999, "status": "succeeded", "metadata": {"refund_reference": late.event_id}}

    assert receive(event("refund.updated", refund, "evt_refund")).status == "SUPERSEDED"


def test_a_cancellation_by_the_bank_finishes_our_void():
    services.begin_void("S-1")

    assert receive(CANCELLED).status == "APPLIED"
    assert status() == "VOIDED"


def test_an_event_for_an_unknown_order_is_kept_and_applied_when_the_order_is_known():
    body = event("payment_intent.succeeded", intent(metadata={"reference": "S-2"}, id="pi_2", amount_received=1999))
    assert receive(body).status == "OPEN"
    services.open_payment("S-2", Money(1999, "EUR"), "pm_card_visa", key="key-2")

    assert [receipt.reference for receipt in services.apply_pending_events()] == ["S-2"]
    assert Payment.objects.get(reference="S-2").status == "CAPTURED"
    assert services.apply_pending_events() == []


def test_an_event_stored_by_a_worker_that_died_is_applied_later():
    GatewayEvent.objects.create(event_id="evt_1", kind="payment_intent.canceled", payload=CANCELLED.decode())

    assert len(services.apply_pending_events()) == 1
    assert status() == "VOIDED"


def test_an_event_stored_by_a_worker_that_died_is_applied_when_the_bank_sends_it_again():
    GatewayEvent.objects.create(event_id="evt_cancelled", kind="payment_intent.canceled", payload=CANCELLED.decode())

    receipt = receive(CANCELLED)

    assert (receipt.is_new, receipt.status) == (False, "APPLIED")
    assert status() == "VOIDED"


def test_events_that_stay_open_keep_no_other_from_its_turn():
    for number in range(3):
        receive(event("payment_intent.succeeded", intent(metadata={"reference": "S-9"}), f"evt_{number}"))
    GatewayEvent.objects.create(event_id="evt_died", kind="payment_intent.canceled", payload=CANCELLED.decode())

    told = [[receipt.event_id for receipt in services.apply_pending_events(limit=2)] for _ in range(2)]

    assert told == [["evt_died"], []]
    tried = GatewayEvent.objects.filter(status="OPEN").order_by("tried_at").values_list("event_id", flat=True)
    assert list(tried) == ["evt_0", "evt_1", "evt_2"]


def test_an_event_that_cannot_be_written_down_is_left_to_a_person_and_keeps_no_other_from_its_turn():
    declined = intent(last_payment_error={"decline_code": "no\0pe"})

    assert receive(event("payment_intent.payment_failed", declined, "evt_nul")).status == "OPEN"

    GatewayEvent.objects.update(status="RECEIVED", tried_at=None)
    GatewayEvent.objects.create(event_id="evt_died", kind="payment_intent.canceled", payload=CANCELLED.decode())
    assert [receipt.event_id for receipt in services.apply_pending_events()] == ["evt_died"]
    assert GatewayEvent.objects.get(event_id="evt_nul").note.startswith("cannot be read: ")


def test_what_nobody_cleared_up_in_a_month_is_given_up_and_says_why():
    receive(event("payment_intent.succeeded", intent(amount=5, amount_received=5)))
    GatewayEvent.objects.update(received_at=datetime.now(UTC) - KEPT_OPEN + timedelta(hours=1))
    services.apply_pending_events()
    assert GatewayEvent.objects.get().status == "OPEN"

    GatewayEvent.objects.update(received_at=datetime.now(UTC) - KEPT_OPEN)

    assert services.apply_pending_events() == []
    stored = GatewayEvent.objects.get()
    assert stored.status == "EXPIRED"
    assert stored.note == "given up after 30 days: amount or currency differ from what was asked"
    assert stored.settled_at is not None


def test_money_to_be_given_back_is_never_given_up():
    services.begin_void("S-1")
    services.record_voided("S-1")
    receive(CAPTURED)

    GatewayEvent.objects.update(received_at=datetime.now(UTC) - 2 * KEPT_OPEN)

    assert [receipt.is_late_money for receipt in services.apply_pending_events()] == [True]


def test_a_refund_is_recorded_by_who_asked_for_it_and_not_by_its_webhook():
    services.record_authorized("S-1", Authorization("pi_1", 1999, "EUR"))
    services.record_captured("S-1", Capture("pi_1", 1999, "EUR"))
    services.begin_refund("S-1", "R-1", Money(500, "EUR"))
    refund = {"id": "re_1", "amount": 500, "status": "succeeded", "metadata": {"refund_reference": "R-1"}}

    assert receive(event("refund.updated", refund, "evt_1")).status == "RECEIVED"
    assert services.apply_pending_events() == []
    assert Payment.objects.get().refunded_amount == 0
    services.record_refunded("R-1", RefundReceipt("re_1", 500, "EUR"))

    assert [receipt.status for receipt in services.apply_pending_events()] == ["SUPERSEDED"]
    assert receive(event("refund.updated", refund, "evt_2")).status == "SUPERSEDED"
    assert Payment.objects.get().refunded_amount == 500
    assert Refund.objects.get().status == "SUCCEEDED"


@pytest.mark.parametrize("word", ["failed", "canceled"])
def test_money_that_the_bank_could_not_give_back_is_owed_again_once(word):
    services.record_authorized("S-1", Authorization("pi_1", 1999, "EUR"))
    services.record_captured("S-1", Capture("pi_1", 1999, "EUR"))
    services.begin_refund("S-1", "R-1", Money(1999, "EUR"))
    failed = {"id": "re_1", "amount": 1999, "status": word, "metadata": {"refund_reference": "R-1"}}

    assert receive(event("refund.updated", failed, "evt_1")).status == "OPEN", "who asked has not heard yet"
    services.record_refunded("R-1", RefundReceipt("re_1", 1999, "EUR"))
    assert [receipt.status for receipt in services.apply_pending_events()] == ["APPLIED"]
    assert receive(event("refund.failed", failed, "evt_2")).status == "SUPERSEDED"

    assert (Payment.objects.get().refunded_amount, Refund.objects.get().status) == (0, "FAILED")
    services.begin_refund("S-1", "R-2", Money(1999, "EUR"))


@pytest.mark.parametrize("at", [-301, 301], ids=["too old", "from the future"])
def test_an_event_outside_the_tolerance_is_refused(at):
    with pytest.raises(InvalidEvent):
        services.receive_event(AUTHORIZED, signature(AUTHORIZED, at=time.time() + at))

    assert not GatewayEvent.objects.exists()
    assert status() == "UNKNOWN"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=1",
        "v1=abc",
        "t=x,v1=abc",
        signature(AUTHORIZED, "whsec_forged"),
        signature(CAPTURED),
        signature(AUTHORIZED) + ",t=1",
        "t=١,v1=é",
    ],
    ids=["none", "no digest", "no time", "no number", "forged", "of another body", "two times", "not ascii"],
)
def test_an_event_without_a_valid_signature_is_refused(header):
    with pytest.raises(InvalidEvent):
        services.receive_event(AUTHORIZED, header)

    assert not GatewayEvent.objects.exists()
    assert status() == "UNKNOWN"


def test_while_a_secret_is_replaced_both_are_valid():
    assert services.receive_event(AUTHORIZED, signature(AUTHORIZED, "whsec_before")).status == "APPLIED"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"id": "e", "type": "t", "data": {"object": 1}}'])
def test_a_signed_body_that_is_no_event_is_refused(body):
    with pytest.raises(InvalidEvent):
        receive(body)

    assert not GatewayEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_twenty_copies_at_once_have_one_effect():
    results = race([partial(receive, CAPTURED) for _ in range(20)])

    assert sum(result.is_new for result in results) == 1
    assert GatewayEvent.objects.count() == 1
    assert status() == "CAPTURED"
