"""The Stripe adapter against the sandbox bank: real sockets, and the bank's own ledger as the witness."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from payments import services
from payments.adapters.stripe import StripeGateway
from payments.exceptions import (
    AlreadyCaptured,
    AlreadyVoided,
    Declined,
    GatewayMisuse,
    GatewayUnavailable,
    NotDone,
    OutcomeUnknown,
)
from payments.gateway import AuthorizationRequest, CaptureRequest, RefundRequest, VoidRequest

SOON = timedelta(seconds=5)


def order(method="pm_card_visa", amount=1999):
    return AuthorizationRequest(f"S-{uuid.uuid4().hex[:10]}", amount, "EUR", method)


def authorize(request, timeout=SOON):
    return services.authorize(request, key=request.reference, timeout=timeout)


def void(request, intent_id=None):
    wish = VoidRequest(request.reference, request.reference, request, intent_id)
    services.void(wish, key=f"{request.reference}:void", timeout=SOON)


def capture_request(request):
    return CaptureRequest(request.reference, authorize(request).intent_id, request.amount, request.currency)


def test_the_same_key_holds_the_money_once(bank):
    request = order()

    first, second = authorize(request), authorize(request)

    assert first == second
    assert (first.amount, first.currency) == (1999, "EUR")
    assert [(row["status"], row["held"]) for row in bank.ledger(request.reference)] == [("requires_capture", 1999)]


@pytest.mark.parametrize(
    ("method", "code", "message"),
    [
        ("pm_card_chargeDeclined", "generic_decline", "The bank declined the card."),
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds", "The card does not have enough money"),
        ("pm_card_authenticationRequired", "authentication_required", "The bank wants you to confirm"),
        ("pm_of_nobody", "invalid_payment_method", "This payment method is not known"),
    ],
)
def test_a_decline_says_why_in_the_shoppers_words_and_holds_nothing(bank, method, code, message):
    request = order(method)

    with pytest.raises(Declined) as refusal:
        authorize(request)

    assert refusal.value.code == code
    assert refusal.value.message.startswith(message)
    assert [row["held"] for row in bank.ledger(request.reference)] == [0]


@pytest.mark.parametrize("operation", ["create", "confirm"])
@pytest.mark.parametrize("fault", ["answer_lost", "error_after", "error", "garbage", "late"])
def test_a_lost_or_wrong_answer_is_unknown_and_the_same_key_settles_it_once(bank, fault, operation):
    request = order()
    bank.control(fault=fault, operation=operation, seconds=0)

    with pytest.raises(OutcomeUnknown):
        authorize(request)
    time.sleep(0.1 if fault == "late" else 0)
    authorize(request)

    assert bank.fired() == {fault: 1}
    assert [row["held"] for row in bank.ledger(request.reference)] == [1999]


def test_a_stall_beyond_the_time_out_is_unknown_and_ends_in_time(bank):
    request = order()
    bank.control(fault="stall", operation="confirm", seconds=8)

    started = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        authorize(request, timeout=timedelta(seconds=0.3))
    assert time.monotonic() - started < 6
    with pytest.raises(OutcomeUnknown, match="409"):  # the key is in use while the first call is under way
        authorize(request)

    time.sleep(8)
    assert services.find_authorization(request, key=request.reference, timeout=SOON).amount == 1999
    assert bank.fired() == {"stall": 1}


def test_a_bank_that_is_down_or_gone_has_done_nothing(bank):
    request = order()
    bank.control(fault="down", operation="create")

    with pytest.raises(GatewayUnavailable) as refusal:
        authorize(request)
    assert refusal.value.retry_after == timedelta(seconds=1)
    assert bank.ledger(request.reference) == []
    for address in ("http://127.0.0.1:9", "http://no-such-bank.invalid"):
        with pytest.raises(GatewayUnavailable):
            StripeGateway(address, "sk").authorize(request, key="k", timeout=SOON)


def test_a_bank_that_refuses_connections_comes_back(bank):
    authorize(order())  # a pooled connection that will be closed
    bank.control(fault="refuse", seconds=4)
    time.sleep(0.3)

    with pytest.raises(GatewayUnavailable):
        authorize(order())

    time.sleep(4.5)
    assert authorize(order()).amount == 1999


@pytest.mark.parametrize(("amount", "code"), [(49, "amount_too_small"), (10**8, "amount_too_large")])
def test_an_amount_that_the_bank_does_not_take_is_declined_and_holds_nothing(bank, amount, code):
    request = order(amount=amount)

    for ask in (services.authorize, services.find_authorization):
        with pytest.raises(Declined, match="does not take payments") as refusal:
            ask(request, key=request.reference, timeout=SOON)
        assert refusal.value.code == code
    void(request)  # as after an answer that was lost

    assert bank.ledger(request.reference) == []


def test_our_own_mistakes_are_not_the_shoppers(bank):
    request = order()
    authorize(request)

    with pytest.raises(GatewayMisuse, match="401"):
        StripeGateway(bank.url, "sk_wrong").authorize(request, key="k", timeout=SOON)
    with pytest.raises(GatewayMisuse, match="IdempotencyError"):
        authorize(AuthorizationRequest(request.reference, 1, "EUR", "pm_card_visa"))


def test_a_void_of_an_unknown_authorization_makes_the_late_confirmation_fail(bank):
    request = order()
    bank.control(fault="late", operation="confirm", seconds=0.4)
    with pytest.raises(OutcomeUnknown):
        authorize(request)

    void(request)
    void(request)
    time.sleep(0.6)  # now the confirmation has arrived

    assert bank.fired() == {"late": 1}
    assert [(row["status"], row["held"]) for row in bank.ledger(request.reference)] == [("canceled", 0)]
    with pytest.raises(AlreadyVoided):
        authorize(request)
    with pytest.raises(NotDone):
        services.find_authorization(request, key=request.reference, timeout=SOON)


def test_a_void_before_any_call_makes_the_first_call_fail(bank):
    request = order()

    void(request)

    with pytest.raises(AlreadyVoided):
        authorize(request)
    assert [row["held"] for row in bank.ledger(request.reference)] == [0]


def test_after_a_day_a_void_still_finds_the_intent_by_the_order_number(bank):
    request = order()
    bank.control(fault="answer_lost", operation="confirm")
    with pytest.raises(OutcomeUnknown):
        authorize(request)
    bank.control(forget_keys=True)

    found = services.find_authorization(request, key=request.reference, timeout=SOON)
    void(request)

    assert found.amount == 1999
    rows = bank.ledger(request.reference)  # the forgotten intent, and the one its key made anew
    assert [(row["status"], row["held"]) for row in rows] == [("canceled", 0), ("canceled", 0)]


def test_a_no_to_the_cancellation_is_not_taken_for_an_intent_that_never_was(bank, monkeypatch):
    request = order()
    authorize(request)

    def declines(*args):
        raise Declined("card_declined", "not this one")

    monkeypatch.setattr(StripeGateway, "_cancel", declines)

    with pytest.raises(Declined):
        void(request)
    assert [row["held"] for row in bank.ledger(request.reference)] == [1999]


def test_a_void_without_a_request_asks_nobody(settings):
    settings.BANK_URL = "http://127.0.0.1:9"

    services.void(VoidRequest("S-1", "", None, None), key="k", timeout=SOON)


def test_an_authorization_not_seen_is_no_proof_that_none_comes(bank):
    with pytest.raises(OutcomeUnknown):
        services.find_authorization(order(), key=uuid.uuid4().hex, timeout=SOON)


def test_a_capture_whose_answer_is_lost_is_found_and_taken_once(bank):
    request = capture_request(order())
    bank.control(fault="answer_lost", operation="capture")

    with pytest.raises(OutcomeUnknown):
        services.capture(request, key=request.reference, timeout=SOON)
    found = services.find_capture(request, timeout=SOON)
    again = services.capture(request, key=request.reference, timeout=SOON)

    assert found == again
    assert [(row["captured"], row["held"]) for row in bank.ledger(request.reference)] == [(1999, 0)]
    with pytest.raises(AlreadyCaptured):
        void(AuthorizationRequest(request.reference, 1999, "EUR", "pm_card_visa"), request.intent_id)


def test_money_no_longer_held_cannot_be_captured(bank):
    request = order()
    wish = capture_request(request)
    void(request, wish.intent_id)

    with pytest.raises(Declined) as refusal:
        services.capture(wish, key="k", timeout=SOON)
    assert refusal.value.code == "authorization_expired"
    with pytest.raises(NotDone):
        services.find_capture(wish, timeout=SOON)


def test_a_refund_whose_answer_is_lost_is_found_and_paid_once(bank):
    capture = capture_request(order())
    services.capture(capture, key=capture.reference, timeout=SOON)
    request = RefundRequest(f"R-{capture.reference}", capture.reference, capture.intent_id, 500, "EUR")
    with pytest.raises(OutcomeUnknown):
        services.find_refund(request, timeout=SOON)
    bank.control(fault="answer_lost", operation="refund")

    with pytest.raises(OutcomeUnknown):
        services.refund(request, key="refund" + capture.reference, timeout=SOON)
    found = services.find_refund(request, timeout=SOON)

    assert found == services.refund(request, key="refund" + capture.reference, timeout=SOON)
    assert [row["refunded"] for row in bank.ledger(capture.reference)] == [500]


def test_sixty_four_threads_share_the_adapter(bank):
    requests = [order(amount=100 + n) for n in range(128)]

    with ThreadPoolExecutor(64) as pool:
        authorizations = list(pool.map(lambda request: authorize(request, timedelta(seconds=20)), requests))

    assert [authorization.amount for authorization in authorizations] == [100 + n for n in range(128)]
    assert len({authorization.intent_id for authorization in authorizations}) == 128


def test_the_bank_lists_its_payments_for_reconciliation(bank):
    request = order()
    started = datetime.now(UTC) - timedelta(seconds=2)
    authorize(request)

    listed = [p for p in services.gateway().payments_since(started, timeout=SOON) if p.reference == request.reference]

    assert [(p.status, p.amount, p.captured, p.refunded, p.currency) for p in listed] == [
        ("AUTHORIZED", 1999, 0, 0, "EUR")
    ]


INTENT = b'{"id": "pi_1", "object": "payment_intent", "amount": %d, "currency": "%s", "metadata": {"reference": "%s"}}'
CREATED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        CREATED + b"Content-Length: 9999\r\n\r\n{",
        CREATED + b"\r\n[]",
        CREATED + b"\r\n{}",
        CREATED + b"\r\n" + INTENT % (5, b"eur", b"S-1"),
        CREATED + b"\r\n" + INTENT % (1999, b"usd", b"S-1"),
        CREATED + b"\r\n" + INTENT % (1999, b"eur", b"S-2"),
        CREATED + b"\r\n" + INTENT % (1999, b"eur", b"S-1") + b" " * (1024 * 1024),
        CREATED + b"\r\n\xff\xfe\x00",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
    ids=[
        "truncated",
        "a list",
        "empty object",
        "other amount",
        "other currency",
        "other order",
        "too large",
        "not text",
        "redirect",
        "503 that promises nothing",
        "a proxy's page",
        "another protocol",
        "hangs up",
    ],
)
def test_an_answer_that_is_not_ours_is_never_taken_for_done(answer):
    server = one_answer_server(answer)
    request = AuthorizationRequest("S-1", 1999, "EUR", "pm_card_visa")

    with pytest.raises(OutcomeUnknown):
        StripeGateway(server, "sk").authorize(request, key="k", timeout=SOON)


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        (b"7", timedelta(seconds=7)),
        (b"86400000", timedelta(days=1000)),
        (b"999999999", timedelta(seconds=999_999_999)),
        (b"1000000000000", None),
        (b"9" * 5000, None),
        (b"\xb2", None),
        (b"-1", None),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_what_a_bank_asks_for_is_told_in_seconds_and_what_is_no_time_is_not(said, wait):
    server = one_answer_server(
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: " + said + b"\r\nContent-Length: 2\r\n\r\n{}"
    )

    with pytest.raises(GatewayUnavailable) as refusal:
        StripeGateway(server, "sk").authorize(order(), key="k", timeout=SOON)

    assert refusal.value.retry_after == wait


def test_an_answer_that_drips_ends_at_the_deadline():
    server = one_answer_server(CREATED + b"\r\n" + b" " * 80, pause=0.25)
    request = AuthorizationRequest("S-1", 1999, "EUR", "pm_card_visa")

    started = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        StripeGateway(server, "sk").authorize(request, key="k", timeout=timedelta(seconds=0.5))

    assert time.monotonic() - started < 12


def test_proxies_of_the_environment_are_ignored(bank, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    assert authorize(order()).amount == 1999


def one_answer_server(answer, pause=0.0):
    """The address of a server that reads one request, writes these bytes, and hangs up."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.close_connection = True
            head, separator, body = answer.partition(b"\r\n\r\n")
            self.wfile.write(head + separator)
            step = 1 if pause else 65536
            for start in range(0, len(body), step):
                time.sleep(pause)
                try:
                    self.wfile.write(body[start : start + step])
                except OSError:
                    return

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)

    def serve():
        server.handle_request()
        server.server_close()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"
