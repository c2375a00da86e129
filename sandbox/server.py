"""The HTTP side of a sandbox service: requests, faults, idempotency keys, the control endpoint."""

import json
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from sandbox.faults import Fault, FaultBook
from sandbox.store import Store

MAX_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]  # names in lower case

    @property
    def idempotency_key(self) -> str:
        return self.headers.get("idempotency-key", "") if self.method == "POST" else ""


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class Service(Protocol):
    """A bank or a carrier: it knows its operations, acts, and can say what it believes."""

    operations: list[str]
    declinable: list[str]

    def operation_of(self, request: Request) -> str | None: ...

    def act(self, request: Request, decline: str) -> Answer:
        """Do what is asked, once for an idempotency key. ``decline`` is a code to refuse with, or empty."""
        ...

    def trouble(self, status: int, message: str) -> dict[str, Any]:
        """An error in the service's own shape."""
        ...

    def ledger(self) -> dict[str, Any]: ...

    def control(self, wish: dict[str, Any]) -> str | None:
        """Wishes beyond faults, such as a parcel that moves; returns what is wrong with it, if anything."""
        ...


class SandboxServer(ThreadingHTTPServer):
    """One service on one port."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], service: Service, store: Store) -> None:
        self.service, self.store = service, store
        self.faults = FaultBook(service.operations, service.declinable)
        self.in_flight: set[str] = set()
        self.in_flight_lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._stopped = threading.Event()
        self._refuse_seconds = 0.0
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news; anything else is."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def run(self) -> None:
        """Serve until `stop`; leave off listening for a while when told to refuse."""
        while not self._stopped.is_set():
            self.serve_forever(poll_interval=0.1)
            if self._refuse_seconds and not self._stopped.is_set():
                self._refuse()

    def stop(self) -> None:
        self._stopped.set()
        self.shutdown()

    def refuse_for(self, seconds: float) -> None:
        """From another thread: close the listening socket and every connection; listen again after ``seconds``."""
        self._refuse_seconds = seconds
        self.shutdown()

    def _refuse(self) -> None:
        self.socket.close()
        for connection in list(self._open):
            self.shutdown_request(connection)
        self._stopped.wait(self._refuse_seconds)
        self._refuse_seconds = 0.0
        self.socket = socket.socket(self.address_family, self.socket_type)
        self.server_bind()
        self.server_activate()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024  # headers and body leave in one segment
    server: SandboxServer

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """One line per request would drown the log of `up`."""

    def _serve(self) -> None:
        request = self._read()
        if request is None:
            return
        if request.path.startswith("/_"):
            self._serve_control(request)
            return
        operation = self.server.service.operation_of(request)
        if operation is None:
            self._send_trouble(404, "unrecognized request URL")
            return
        if self.server.faults.latency_seconds:
            time.sleep(self.server.faults.latency_seconds)
        self._serve_operation(request, self.server.faults.take(operation))

    def _read(self) -> Request | None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self._send_trouble(413, "the body is too large")
            self.close_connection = True
            return None
        body = self.rfile.read(length)
        if len(body) < length:
            # Whoever sent it is gone in the middle of it: nothing is known of what was meant.
            self.close_connection = True
            return None
        url = urlsplit(self.path)
        return Request(
            method=self.command,
            path=url.path,
            query=dict(parse_qsl(url.query)),
            body=body,
            headers={name.lower(): value for name, value in self.headers.items()},
        )

    def _serve_operation(self, request: Request, fault: Fault | None) -> None:
        match fault and fault.fault:
            case "down":
                self._send(Answer(503, self.server.service.trouble(503, "down"), {"Retry-After": "1"}))
            case "error":
                self._send_trouble(500, "an error happened, and nothing else")
            case "late" if fault:
                threading.Timer(fault.seconds, self._act, [request]).start()
                self.close_connection = True
            case "stall" if fault:
                self._send(self._act(request, stall=fault.seconds))
            case "answer_lost":
                self._act(request)
                self.close_connection = True
            case "error_after":
                self._act(request)
                self._send_trouble(500, "an error happened, after all else had")
            case "garbage":
                self._act(request)
                self._send_bytes(200, b"<html><body>It works!</body></html>", "text/html", {})
            case "twice":
                self._act(request)
                self._send(self._act(request))
            case "decline" if fault:
                self._send(self._act(request, decline=fault.code or "generic_decline"))
            case _:
                self._send(self._act(request))

    def _act(self, request: Request, *, stall: float = 0, decline: str = "") -> Answer:
        """Act with the idempotency key marked as in use, as long as it takes."""
        key = request.idempotency_key
        with self.server.in_flight_lock:
            if key and key in self.server.in_flight:
                return Answer(409, self.server.service.trouble(409, "this idempotency key is in use"))
            self.server.in_flight.add(key)
        try:
            time.sleep(stall)
            return self.server.service.act(request, decline)
        finally:
            with self.server.in_flight_lock:
                self.server.in_flight.discard(key)

    def _serve_control(self, request: Request) -> None:
        match request.method, request.path:
            case "GET", "/_health":
                self._send(Answer(200, {"ok": True}))
            case "GET", "/_ledger":
                self._send(Answer(200, self.server.service.ledger()))
            case "GET", "/_control":
                self._send(Answer(200, self.server.faults.show()))
            case "POST", "/_control":
                self._set_fault(request)
            case _:
                self._send_trouble(404, "unrecognized request URL")

    def _set_fault(self, request: Request) -> None:
        try:
            wish = json.loads(request.body)
            problem = self._wish(wish)
        except (ValueError, TypeError, AttributeError):
            problem = "send a JSON object"
        if problem:
            self._send(Answer(400, {"error": problem}))
        else:
            self._send(Answer(200, self.server.faults.show()))

    def _wish(self, wish: dict[str, Any]) -> str | None:
        if wish.get("remember"):
            self.server.store.remember()
            return None
        if wish.get("go_back"):
            return None if self.server.store.go_back() else "nothing was remembered"
        if "fault" not in wish and "latency_ms" not in wish:
            return self.server.service.control(wish)
        if wish.get("fault") == "refuse":
            seconds = float(wish.get("seconds", 5))
            threading.Timer(0.05, self.server.refuse_for, [seconds]).start()
            return None
        return self.server.faults.set(wish)

    def _send_trouble(self, status: int, message: str) -> None:
        self._send(Answer(status, self.server.service.trouble(status, message)))

    def _send(self, answer: Answer) -> None:
        self._send_bytes(answer.status, json.dumps(answer.body).encode(), "application/json", answer.headers)

    def _send_bytes(self, status: int, body: bytes, content_type: str, headers: dict[str, str]) -> None:
        self.send_response_only(status, HTTPStatus(status).phrase)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
