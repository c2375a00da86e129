"""HTTP to services outside: one session with the limits that a call about money needs.

requests alone follows redirects, obeys proxy variables, and has no limit for a whole answer.
It also reports a refused connection and a lost answer alike, though only the first of the two
proves that nothing happened.
"""

import time
from datetime import timedelta
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

from circuit_breaker import CircuitBreaker, CircuitOpen

CONNECT_SECONDS = 3.0
MAX_ANSWER_BYTES = 1024 * 1024
POOL_SIZE = 64
# 31 years: a longer number is no time, and would overflow one.
MOST_DIGITS = 9


class NeverSent(requests.ConnectionError):
    """No connection was made: the request definitely had no effect."""


class NotNow(requests.RequestException):
    """The service was reached and promised to have done nothing.

    429, or 503 with Retry-After: a 503 alone may come from a proxy that lost the answer (RFC 9110, 15.6.4).
    """

    retry_after: timedelta | None = None


class _ServiceFailed(Exception):
    """An answer of 5xx: for the breaker only, the caller gets the answer."""


class AnswerTooLarge(requests.RequestException):
    """The answer is longer than any honest one."""


class Deadline:
    """The moment, on a clock that also runs while the process is frozen, when a call must be over."""

    def __init__(self, timeout: timedelta) -> None:
        self._end = time.monotonic() + timeout.total_seconds()

    @property
    def remaining(self) -> float:
        return self._end - time.monotonic()

    def limits(self) -> tuple[float, float]:
        """(connect, read) time-outs for the next request; too late raises `requests.Timeout` before sending."""
        remaining = self.remaining
        if remaining <= 0:
            raise requests.Timeout("no time left for another request")
        return min(CONNECT_SECONDS, remaining), remaining


class GuardedSession(requests.Session):
    """A pooled session for many threads: no redirects, proxies, cookies or retries; time and size limited."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._breaker = CircuitBreaker(service)
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_maxsize=POOL_SIZE, max_retries=0)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send, unless the circuit is open. What blames the service counts against it, what blames us does not."""
        response: requests.Response | None = None
        try:
            with self._breaker.call():
                response = self._send(request, **kwargs)
                if response.status_code >= 500:
                    raise _ServiceFailed
        except CircuitOpen as error:
            refusal = NotNow(str(error), request=request)
            refusal.retry_after = error.retry_after
            raise refusal from error
        except _ServiceFailed:
            assert response is not None
        return response

    def _send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        kwargs.update(allow_redirects=False, stream=True)
        _, read_seconds = kwargs["timeout"]
        end = time.monotonic() + read_seconds
        try:
            response = super().send(request, **kwargs)
        except requests.ConnectionError as error:
            if _never_connected(error):
                raise NeverSent(str(error), request=request) from error
            raise
        response._content = _read_body(response, end)
        seconds = response.headers.get("Retry-After", "")
        if response.status_code == 429 or (response.status_code == 503 and seconds):
            refusal = NotNow(f"answered {response.status_code}", response=response)
            refusal.retry_after = _wait_asked_for(seconds)
            raise refusal
        return response


def proof_of_no_effect(error: BaseException) -> NeverSent | NotNow | None:
    """What is behind ``error`` and proves that nothing was done: the SDKs wrap what the session raised."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, NeverSent | NotNow):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _wait_asked_for(seconds: str) -> timedelta | None:
    """What Retry-After says, as it says it: how long is too long, the caller knows. A date is left unread."""
    if seconds.isascii() and seconds.isdigit() and len(seconds) <= MOST_DIGITS:
        return timedelta(seconds=int(seconds))
    return None


def _never_connected(error: requests.ConnectionError) -> bool:
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


def _read_body(response: requests.Response, end: float) -> bytes:
    """Read piece by piece: a read time-out alone lets a slow drip of bytes go on for ever."""
    body = bytearray()
    try:
        while piece := response.raw.read1(64 * 1024, decode_content=True):
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                raise AnswerTooLarge("the answer is too large", response=response)
            if time.monotonic() > end:
                raise requests.ReadTimeout("the answer took too long", response=response)
    except (HTTPError, requests.RequestException) as error:
        response.raw.close()  # what is left of this answer must not be read as the next one
        if isinstance(error, HTTPError):
            raise requests.ConnectionError(error, response=response) from error
        raise
    return bytes(body)
