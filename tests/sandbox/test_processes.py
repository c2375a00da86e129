"""The sandbox services as an operator meets them."""

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import pytest
import requests
import stripe
from easypost.util import validate_webhook

from tests.sandbox.processes import ROOT, SandboxProcess

AUTH = {"Authorization": "Bearer sk_test_sandbox"}


@pytest.mark.parametrize("name", ["bank", "carrier"])
def test_a_sandbox_refuses_to_start_outside_of_practice(name, tmp_path):
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "DEBUG": "0", "SANDBOX": "0"}

    result = subprocess.run(
        [sys.executable, "manage.py", f"sandbox_{name}", "--port", "0"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert result.returncode != 0
    assert "The sandbox is for practice" in result.stderr
    assert not (tmp_path / "sandbox").exists()


def test_the_bank_remembers_what_it_did_when_it_is_killed(tmp_path):
    bank = SandboxProcess("bank", tmp_path)
    body = {"amount": 1999, "currency": "eur", "capture_method": "manual", "metadata[reference]": "S-1"}
    key = {**AUTH, "Idempotency-Key": "key-1"}
    created = requests.post(f"{bank.url}/v1/payment_intents", body, headers=key, timeout=30).json()
    bank.process.kill()
    bank.process.wait()
    bank.process.stdout.close()

    bank = SandboxProcess("bank", tmp_path)
    again = requests.post(f"{bank.url}/v1/payment_intents", body, headers=key, timeout=30)
    other = requests.post(f"{bank.url}/v1/payment_intents", {**body, "amount": 1}, headers=key, timeout=30)
    rows = bank.ledger("S-1")
    bank.stop()

    assert again.json() == created
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    assert [row["intent_id"] for row in rows] == [created["id"]]


@pytest.fixture
def shop():
    """A server that takes webhooks into `received`, after answering 500 to the first."""
    received = []

    class Shop(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if len(received) == 1 else 200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Shop)
    server.received = received
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def wait_for_webhooks(shop, count):
    until = time.monotonic() + 60
    while len(shop.received) < count and time.monotonic() < until:
        time.sleep(0.05)
    assert len(shop.received) == count
    assert len({body for _, body in shop.received}) == 1


def test_the_banks_webhooks_are_signed_and_sent_again_until_they_are_accepted(tmp_path, shop):
    bank = SandboxProcess("bank", tmp_path, "--webhook-url", f"http://127.0.0.1:{shop.server_address[1]}/hook")
    form = {"amount": 1999, "currency": "eur", "metadata[reference]": "S-1"}
    intent = requests.post(f"{bank.url}/v1/payment_intents", form, headers=AUTH, timeout=30).json()
    requests.post(f"{bank.url}/v1/payment_intents/{intent['id']}/cancel", headers=AUTH, timeout=30)
    wait_for_webhooks(shop, 2)
    bank.stop()

    for headers, body in shop.received:
        verify = stripe.WebhookSignature.verify_header
        assert verify(body.decode(), headers["Stripe-Signature"], "whsec_sandbox", tolerance=300)


def test_the_carriers_webhooks_are_signed_and_sent_again_until_they_are_accepted(tmp_path, shop):
    carrier = SandboxProcess("carrier", tmp_path, "--webhook-url", f"http://127.0.0.1:{shop.server_address[1]}/hook")
    key = {"Authorization": "Bearer EZTK_sandbox"}
    to_address = {"zip": "10115", "country": "DE"}
    wish = {"shipment": {"reference": "S-1", "to_address": to_address, "parcel": {"weight": 1.0}}}
    shipment = requests.post(f"{carrier.url}/v2/shipments", json=wish, headers=key, timeout=30).json()
    rate = {"rate": {"id": shipment["rates"][0]["id"]}}
    requests.post(f"{carrier.url}/v2/shipments/{shipment['id']}/buy", json=rate, headers=key, timeout=30)
    wait_for_webhooks(shop, 2)
    carrier.stop()

    for headers, body in shop.received:
        assert validate_webhook(body, headers, "whsec_sandbox")["description"] == "tracker.created"


def test_the_control_says_what_is_set_and_what_is_wrong(bank):
    bank.control(fault="stall", times=3, seconds=2, operation="capture")

    shown = bank.control(latency_ms=1)
    [fault] = shown["faults"]
    assert fault == {"fault": "stall", "times": 3, "seconds": 2.0, "operation": "capture", "code": "", "after": 0}
    assert shown["latency_ms"] == 1
    assert bank.control(fault="reset")["faults"] == []

    for wish in (
        {"fault": "explode"},
        {},
        {"fault": "decline", "operation": "capture"},
        {"fault": "down", "operation": "dance"},
        [],
        {"fault": "down", "times": "x"},
    ):
        answer = requests.post(f"{bank.url}/_control", json=wish, timeout=30)
        assert answer.status_code == 400, wish
        assert answer.json()["error"]


def test_a_fault_fires_as_often_as_was_said(bank):
    bank.control(fault="down", times=2, operation="list")

    statuses = [requests.get(f"{bank.url}/v1/payment_intents", headers=AUTH, timeout=30).status_code for _ in range(3)]

    assert statuses == [503, 503, 200]
    assert bank.fired() == {"down": 2}


def test_a_decline_waits_for_a_request_that_can_be_declined(bank):
    bank.control(fault="decline", code="insufficient_funds")
    form = {"amount": 1999, "currency": "eur", "metadata[reference]": "S-1"}
    intent = requests.post(f"{bank.url}/v1/payment_intents", form, headers=AUTH, timeout=30)
    confirm = {"payment_method": "pm_card_visa"}
    url = f"{bank.url}/v1/payment_intents/{intent.json()['id']}/confirm"
    answer = requests.post(url, confirm, headers=AUTH, timeout=30)

    assert intent.status_code == 200
    assert (answer.status_code, answer.json()["error"]["decline_code"]) == (402, "insufficient_funds")


def test_latency_delays_every_answer(bank):
    bank.control(latency_ms=150)

    started = time.monotonic()
    requests.get(f"{bank.url}/v1/payment_intents", headers=AUTH, timeout=30)

    assert time.monotonic() - started >= 0.15


def test_the_bank_answers_sixteen_at_once(bank):
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=16))
    form = {"amount": 1999, "currency": "eur"}

    def create(number):
        headers = {**AUTH, "Idempotency-Key": f"many-{time.time_ns()}-{number}"}
        return session.post(f"{bank.url}/v1/payment_intents", form, headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(create, range(160)))

    assert statuses == [200] * 160


def test_a_request_that_was_cut_off_did_not_happen(bank):
    """Its sender was killed in the middle of it: acting on half a body would bind its key to that half."""
    body = "amount=1999&currency=eur&metadata[reference]=S-cut"
    key = f"cut-{time.time_ns()}"
    head = (
        "POST /v1/payment_intents HTTP/1.1\r\nHost: bank\r\nAuthorization: Bearer sk_test_sandbox\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", urlsplit(bank.url).port), timeout=5)) as cut:
        cut.sendall((head + body[:20]).encode())
        cut.shutdown(socket.SHUT_WR)
        assert cut.recv(1) == b""

    again = requests.post(f"{bank.url}/v1/payment_intents", body, headers={**AUTH, "Idempotency-Key": key}, timeout=30)

    assert again.status_code == 200
    assert "Idempotent-Replayed" not in again.headers
    assert len(bank.ledger("S-cut")) == 1


def create(bank, reference):
    body = {"amount": 1999, "currency": "eur", "metadata[reference]": reference}
    headers = {**AUTH, "Idempotency-Key": reference}
    return requests.post(f"{bank.url}/v1/payment_intents", body, headers=headers, timeout=30)


def test_a_fault_can_let_the_first_requests_pass(bank):
    bank.control(fault="down", operation="create", after=2)

    assert [create(bank, f"S-{n}").status_code for n in range(4)] == [200, 200, 503, 200]
    assert (bank.asked(), bank.fired()) == ({"create": 4}, {"down": 1})


def test_a_sandbox_goes_back_to_what_it_remembers(tmp_path):
    carrier, bank = SandboxProcess("carrier", tmp_path), SandboxProcess("bank", tmp_path)
    answer = requests.post(f"{carrier.url}/_control", json={"go_back": True}, timeout=30)
    before = create(bank, "S-1").json()
    bank.control(remember=True)

    create(bank, "S-2")
    bank.control(go_back=True)
    references, repeated = [row["reference"] for row in bank.rows()], create(bank, "S-1").json()
    bank.stop()
    carrier.stop()

    assert (answer.status_code, answer.json()) == (400, {"error": "nothing was remembered"})
    assert (references, repeated) == (["S-1"], before)
