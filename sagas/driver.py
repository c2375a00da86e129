"""Drives many sagas at once in one process: local steps one after the other, remote calls on threads.

A call that takes long holds a thread and a lease, no transaction and no database connection,
so that a slow bank does not cap the shop. Only the thread that drives writes rows.
"""

import logging
import queue
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections, connections

from sagas.attempts import Call
from sagas.engine import WEATHER, record, work
from sagas.jobs import hint
from sagas.outcomes import Outcome

logger = logging.getLogger(__name__)

# How long one job drives before it makes way for the next one.
SECONDS = 20.0
# How often to look for what is newly due while calls are under way.
POLL = 0.02
# After so many sagas in one drain there is work for another worker as well.
HINT_EVERY = 20

_stopping = threading.Event()


def stop() -> None:
    """Ask the driver of this process to finish what is under way and to start nothing new."""
    _stopping.set()


def stopping() -> bool:
    return _stopping.is_set()


def wait_to_stop(seconds: float) -> None:
    """Pause, but not longer than until `stop` is called."""
    _stopping.wait(seconds)


def drain_due(seconds: float = SECONDS) -> bool:
    """Drive what is due until nothing is, or for ``seconds``; says whether something may be left.

    Returns when no call is under way any more, which is soon after: each has a time limit.
    """
    close_old_connections()
    with Driver(seconds) as driver:
        return driver.drain()


class Driver:
    """One drain: the sagas at hand, the calls under way, and the answers that came back."""

    def __init__(self, seconds: float) -> None:
        self._until = monotonic() + seconds
        self._most_calls: int = settings.SAGAS_CALLS_IN_FLIGHT
        self._pool = ThreadPoolExecutor(self._most_calls, thread_name_prefix="saga-call")
        self._at_hand: deque[UUID] = deque()
        self._calls_under_way = 0
        self._answers: queue.SimpleQueue[tuple[Call, Outcome]] = queue.SimpleQueue()
        self._unrecorded: deque[tuple[Call, Outcome]] = deque()
        self._claims = 0

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def drain(self) -> bool:
        """Drive until nothing is due or time is up; says whether something may be left."""
        while True:
            try:
                if self._record_answer() or self._start_something():
                    continue
            except WEATHER as error:
                logger.warning("the database is away, trying again: %s", error)
                _stopping.wait(0.5)
                close_old_connections()
                if not _stopping.is_set() and (self._calls_under_way or not self._time_is_up()):
                    continue
                return True
            if not self._calls_under_way:
                return self._time_is_up()
            self._wait_for_answer()

    def _time_is_up(self) -> bool:
        return _stopping.is_set() or monotonic() > self._until

    def _start_something(self) -> bool:
        """One thing for a saga at hand, or for the one that has been due the longest."""
        if self._time_is_up() or self._calls_under_way >= self._most_calls:
            return False
        saga_id = self._at_hand.popleft() if self._at_hand else None
        done = work(saga_id)
        if done is None:
            # Somebody else is at the saga at hand; whether others are due is another question.
            return saga_id is not None
        if saga_id is None:
            self._claims += 1
            if self._claims % HINT_EVERY == 0:
                hint()
        if isinstance(done, Call):
            self._calls_under_way += 1
            self._pool.submit(self._make, done)
        if done.due:
            self._at_hand.append(done.saga_id)
        return True

    def _make(self, call: Call) -> None:
        """On a thread of the pool: make the call and pass the answer on."""
        try:
            self._answers.put((call, call.make()))
        finally:
            connections.close_all()

    def _record_answer(self) -> bool:
        """Write one answer down; it stays in line until that has succeeded."""
        if not self._unrecorded:
            try:
                self._unrecorded.append(self._answers.get_nowait())
            except queue.Empty:
                return False
        moved = record(*self._unrecorded[0])
        self._unrecorded.popleft()
        self._calls_under_way -= 1
        if moved is not None and moved.due:
            self._at_hand.append(moved.saga_id)
        return True

    def _wait_for_answer(self) -> None:
        with suppress(queue.Empty):
            self._unrecorded.append(self._answers.get(timeout=POLL))
