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
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NameResolutionError, NewConnectionError

CONNECT_SECONDS = 3.0
MAX_ANSWER_BYTES = 1024 * 1024
POOL_SIZE = 64


class NeverSent(requests.ConnectionError):
    """No connection was made: the request definitely had no effect."""


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

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_maxsize=POOL_SIZE, max_retries=0)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
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
        return response


def caused_by(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether ``kind`` is behind ``error``: the SDKs wrap what the session raised."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, kind):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _never_connected(error: requests.ConnectionError) -> bool:
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError | NameResolutionError | ConnectTimeoutError)


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
