"""A circuit breaker for each service outside, shared by all processes through Redis.

Nygard, "Release It!" (2007): after some failures in a row nobody calls for a while; then one call is
let through as a probe, and its outcome closes the circuit or opens it again. Where Redis is away the
circuit counts as closed: the breaker saves time, correctness never rests on it. It is our own
because pybreaker holds a lock while it calls, which would put the calls of 64 threads in a row.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import redis
from django.conf import settings

logger = logging.getLogger(__name__)

# The failures that open a circuit come one after the other, none longer than this after the one before.
WINDOW = timedelta(seconds=30)
OPEN_FOR = timedelta(seconds=15)
# A probe that does not come back by then makes way for another one.
PROBE_LIMIT = timedelta(seconds=30)

_PATIENCE_S = 0.05


class CircuitOpen(Exception):
    """Nobody calls this service right now; definitely no effect. ``retry_after`` says when to try again."""

    def __init__(self, name: str, retry_after: timedelta) -> None:
        super().__init__(f"the circuit to the {name} is open: it failed too often")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Circuit:
    """Where a circuit stands: closed, open (for so long), or half-open: the next call is a probe."""

    name: str
    state: str
    failures: int
    opens_again_in: timedelta


def _redis() -> redis.Redis:
    return _connected(settings.REDIS_URL)


@cache
def _connected(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_connect_timeout=_PATIENCE_S, socket_timeout=_PATIENCE_S, retry=None)


class CircuitBreaker:
    """The breaker of one service. Use it round every call: ``with breaker.call() as outcome: ...``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._open, self._tripped, self._failures, self._probe = (
            f"circuit:{name}:{word}" for word in ("open", "tripped", "failures", "probe")
        )

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Let a call through, and learn from it: any exception is a failure of the service.

        Raises `CircuitOpen` without calling. Turn an answer that blames the service into an exception,
        and keep one that blames the request out of here.
        """
        had_failed = self._admit()
        try:
            yield
        except Exception:
            self._failed()
            raise
        if had_failed:
            self.reset()

    def state(self) -> Circuit:
        """Where the circuit stands; raises `redis.RedisError` when nobody can tell."""
        wait, tripped, failures = self._look()
        state = "open" if wait > 0 else "half-open" if tripped else "closed"
        return Circuit(self.name, state, failures, timedelta(milliseconds=max(wait, 0)))

    def reset(self) -> None:
        """Close the circuit and forget its failures."""
        with self._best_effort():
            _redis().delete(self._open, self._tripped, self._failures, self._probe)

    def _admit(self) -> bool:
        """Say whether there is anything to forget on success; raise when the circuit is open."""
        with self._best_effort():
            wait, tripped, failures = self._look()
            if wait > 0:
                raise CircuitOpen(self.name, timedelta(milliseconds=wait))
            if tripped and not _redis().set(self._probe, 1, nx=True, px=PROBE_LIMIT):
                raise CircuitOpen(self.name, timedelta(seconds=1))
            return tripped or failures > 0
        return False

    def _look(self) -> tuple[int, bool, int]:
        pipeline = _redis().pipeline(transaction=False)
        pipeline.pttl(self._open)
        pipeline.exists(self._tripped)
        pipeline.get(self._failures)
        wait, tripped, failures = pipeline.execute()
        return wait, bool(tripped), int(failures or 0)

    def _failed(self) -> None:
        with self._best_effort():
            pipeline = _redis().pipeline()
            pipeline.incr(self._failures)
            pipeline.pexpire(self._failures, WINDOW)
            pipeline.exists(self._tripped)
            failures, _, tripped = pipeline.execute()
            if tripped or failures >= settings.CIRCUIT_BREAKER_FAILURES:
                logger.warning("the circuit to the %s opens for %s s", self.name, OPEN_FOR.total_seconds())
                pipeline = _redis().pipeline()
                pipeline.set(self._tripped, 1)
                # Taken as long as it is open: who looked just before it opened must not become a second probe.
                pipeline.set(self._probe, 1, px=OPEN_FOR)
                pipeline.set(self._open, 1, px=OPEN_FOR)
                pipeline.execute()

    @contextlib.contextmanager
    def _best_effort(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            logger.warning("the circuit to the %s cannot be asked or told: %s", self.name, error)
