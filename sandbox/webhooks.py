"""Sends a sandbox service's events to the shop: at least once, in order of making, signed like the real ones."""

import hashlib
import hmac
import http.client
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from sandbox.store import Store

Headers = Callable[[bytes], dict[str, str]]


def stripe_headers(secret: str) -> Headers:
    """https://docs.stripe.com/webhooks/signature"""

    def sign(body: bytes) -> dict[str, str]:
        stamp = str(int(time.time()))
        digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"Stripe-Signature": f"t={stamp},v1={digest}"}

    return sign


def easypost_headers(secret: str) -> Headers:
    """https://docs.easypost.com/guides/webhooks-guide"""

    def sign(body: bytes) -> dict[str, str]:
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return {"X-Hmac-Signature": f"hmac-sha256-hex={digest}"}

    return sign


class WebhookSender(threading.Thread):
    """Empties the outbox. What the shop does not answer with 2xx is sent again, later and later."""

    def __init__(self, store: Store, url: str, headers: Headers) -> None:
        super().__init__(daemon=True, name="webhooks")
        self._store, self._url, self._headers = store, urlsplit(url), headers

    def run(self) -> None:
        while True:
            due = self._store.due_webhooks()
            for seq, body, tries in due:
                if self._post(body.encode()):
                    self._store.webhook_sent(seq)
                else:
                    self._store.webhook_failed(seq, min(2.0**tries, 60.0))
            if not due:
                time.sleep(0.1)

    def _post(self, body: bytes) -> bool:
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=5)
        try:
            headers = {"Content-Type": "application/json", **self._headers(body)}
            connection.request("POST", self._url.path, body, headers)
            return 200 <= connection.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
