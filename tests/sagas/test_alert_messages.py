"""How alerts are told: signed, again until they are taken, and never in the way of anything else."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.core import mail
from django.db import connection

from sagas.checks import alerts_are_fit
from sagas.monitoring import messages
from sagas.monitoring.messages import send_due
from sagas.monitoring.models import Alert, AlertMessage
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "a secret of more than 16 characters"


@dataclass
class Receiver:
    """A webhook's other end: what it got, and what it answers next (200 when nothing is said)."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    there = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            there.got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(there.answers.pop(0) if there.answers else 200)
            self.send_header("Location", there.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    there.url = f"http://127.0.0.1:{server.server_port}/alerts"
    settings.SAGAS_ALERT_WEBHOOK_URL, settings.SAGAS_ALERT_WEBHOOK_SECRET = there.url, SECRET
    settings.SAGAS_ALERT_EMAILS = ["oncall@example.org"]
    settings.PUBLIC_URL = "https://shop.example.org/"
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    yield there
    server.shutdown()
    thread.join()
    server.server_close()


def alert(*told: tuple[str, str], **values: Any) -> Alert:
    """An open alert with messages that are due: (channel, news)."""
    said = {
        "condition": "COMPENSATION_FAILED",
        "code": "COMPENSATION_FAILED",
        "fingerprint": "f" * 32,
        "subject": "shop.checkout S-1: compensation of book_shipment",
        "message": "the carrier says no",
        "count": 1,
        "saga_id": "01a1fda6-cfd6-7068-80ef-c0171b01eb99",
        "opened_at": "2026-11-21T10:00:00Z",
        "seen_at": "2026-11-21T10:00:00Z",
    }
    made = Alert.objects.create(**said | values)
    for channel, news in told:
        AlertMessage.objects.create(alert=made, channel=channel, news=news, due_at="2026-11-21T10:00:00Z")
    return made


def make_due() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_alertmessage SET due_at = statement_timestamp() WHERE due_at IS NOT NULL")


def pause() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM due_at - statement_timestamp()) FROM sagas_alertmessage")
        return float(cursor.fetchone()[0])


def test_a_mail_says_what_where_and_what_to_do(receiver: Receiver):
    made = alert(("mail", "opened"))

    assert send_due() == 1

    (sent,) = mail.outbox
    assert sent.to == ["oncall@example.org"]
    assert sent.subject == "[ALERT] compensation failed: shop.checkout S-1: compensation of book_shipment"
    assert "the carrier says no" in sent.body
    assert f"https://shop.example.org/admin/sagas/alert/{made.pk}/change/" in sent.body
    assert f"https://shop.example.org/admin/sagas/sagainstance/{made.saga_id}/change/" in sent.body
    assert "1. Read the last attempt of the compensation" in sent.body
    message = AlertMessage.objects.get()
    assert (message.due_at, message.tries) == (None, 1)
    assert message.sent_at is not None
    assert send_due() == 0


def test_a_line_break_in_a_subject_makes_no_header(receiver: Receiver):
    alert(("mail", "opened"), subject="shop.checkout S-1\nBcc: eve@example.org")

    assert send_due() == 1

    assert mail.outbox[0].subject == "[ALERT] compensation failed: shop.checkout S-1 Bcc: eve@example.org"
    assert mail.outbox[0].recipients() == ["oncall@example.org"]


def test_a_webhook_is_signed_over_its_time_and_its_body(receiver: Receiver):
    made = alert(("webhook", "opened"))

    assert send_due() == 1

    ((headers, body),) = receiver.got
    at, signature = headers["Saga-Signature"].removeprefix("t=").split(",v1=")
    assert signature == hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    document = json.loads(body)
    assert document["id"] == f"alert-message-{AlertMessage.objects.get().pk}"
    assert document["news"] == "opened"
    assert document["alert"]["condition"] == "COMPENSATION_FAILED"
    assert document["alert"]["opened_at"] == "2026-11-21T10:00:00+00:00"
    assert document["alert"]["resolved_at"] is None
    assert document["alert"]["link"] == f"https://shop.example.org/admin/sagas/alert/{made.pk}/change/"


@pytest.mark.parametrize("answer", [500, 404, 302])
def test_what_is_not_taken_comes_again_later_and_later(receiver: Receiver, answer: int):
    alert(("webhook", "opened"))
    receiver.answers = [answer, answer]

    pauses = []
    for _ in range(2):
        assert send_due() == 0
        pauses.append(pause())
        assert AlertMessage.objects.get().last_error == f"NotTaken: the webhook answered {answer}"
        make_due()
    assert send_due() == 1

    assert 9 < pauses[0] <= 10
    assert 19 < pauses[1] <= 20
    assert len({body for _, body in receiver.got}) == 1
    message = AlertMessage.objects.get()
    assert (message.tries, message.last_error, message.due_at) == (3, "", None)


def test_pauses_have_an_end(receiver: Receiver):
    alert(("webhook", "opened"))
    AlertMessage.objects.update(tries=500)
    receiver.answers = [500]

    send_due()

    assert 3599 < pause() <= 3600


def test_a_receiver_that_is_not_there_does_not_hold_up_the_mail(receiver: Receiver, settings: Any):
    settings.SAGAS_ALERT_WEBHOOK_URL = "http://127.0.0.1:9/"
    alert(("webhook", "opened"), ("mail", "opened"))

    assert send_due() == 1

    assert len(mail.outbox) == 1
    assert AlertMessage.objects.get(channel="webhook").last_error.startswith("ConnectionError: ")


def test_a_receiver_that_hangs_is_left_after_the_time_limit(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, settings: Any
):
    monkeypatch.setattr(messages, "TIMEOUT_S", (0.05, 0.05))
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as silent:
        settings.SAGAS_ALERT_WEBHOOK_URL = f"http://127.0.0.1:{silent.server_port}/"
        alert(("webhook", "opened"))
        assert send_due() == 0

    assert AlertMessage.objects.get().last_error.startswith("ReadTimeout: ")


def test_nothing_is_sent_inside_a_transaction(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    inside = []
    monkeypatch.setattr(messages, "send_mail", lambda *_: inside.append(connection.in_atomic_block))
    alert(("mail", "opened"))

    send_due()

    assert inside == [False]


def test_a_sender_that_died_is_followed_by_another(receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    alert(("mail", "opened"))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(messages, "send_mail", die)
        with pytest.raises(KeyboardInterrupt):
            send_due()
    assert send_due() == 0  # its lease is not over
    make_due()

    assert send_due() == 1


def test_the_end_is_told_after_the_beginning(receiver: Receiver):
    alert(("webhook", "opened"), ("webhook", "resolved"), resolved_at="2026-11-21T11:00:00Z")
    receiver.answers = [500]
    assert send_due() == 0
    make_due()

    assert send_due() == 2

    assert [json.loads(body)["news"] for _, body in receiver.got] == ["opened", "opened", "resolved"]


def test_of_several_senders_one_sends_each_message(receiver: Receiver):
    alert(("webhook", "opened"), ("mail", "opened"))

    assert sum(race([send_due] * 4)) == 2

    assert (len(receiver.got), len(mail.outbox)) == (1, 1)


def test_one_message_is_claimed_at_a_time_whatever_the_database_plans(receiver: Receiver):
    alert(("webhook", "opened"), ("mail", "opened"))
    with connection.cursor() as cursor:
        # As it may for a table without statistics: a join that asks for the next message once a row.
        for way in ("hashjoin", "hashagg", "sort", "material"):
            cursor.execute(f"SET enable_{way} = off")
    try:
        assert send_due() == 2
    finally:
        connection.close()


def test_a_webhook_without_a_real_secret_is_refused_at_the_start(settings: Any):
    settings.SAGAS_ALERT_WEBHOOK_URL, settings.SAGAS_ALERT_WEBHOOK_SECRET = "https://ops.example.org/", "short"

    assert [error.id for error in alerts_are_fit(None)] == ["sagas.E012"]

    settings.SAGAS_ALERT_WEBHOOK_SECRET = SECRET
    assert alerts_are_fit(None) == []
