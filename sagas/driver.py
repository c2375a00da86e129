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
# How long an answer that could not be written down lets others go first.
RECORD_AGAIN = 1.0

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
        # Each call by its saga and token, with the end of its lease.
        self._under_way: dict[tuple[UUID, int], float] = {}
        self._left_behind = False
        self._answers: queue.SimpleQueue[tuple[Call, Outcome]] = queue.SimpleQueue()
        # Answers to be written down, each with the time from which to try.
        self._unrecorded: list[tuple[float, Call, Outcome]] = []
        self._claims = 0

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=not self._left_behind)

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
                if not _stopping.is_set() and (self._under_way or not self._time_is_up()):
                    continue
                return True
            if not self._under_way:
                return self._time_is_up()
            self._leave_hung_calls_behind()
            self._wait_for_answer()

    def _time_is_up(self) -> bool:
        return _stopping.is_set() or monotonic() > self._until

    def _start_something(self) -> bool:
        """One thing for a saga at hand, or for the one that has been due the longest."""
        if self._time_is_up() or len(self._under_way) >= self._most_calls:
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
            self._under_way[done.saga_id, done.token] = monotonic() + done.lease.total_seconds()
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
        """Write one answer down; it stays in line until that has succeeded, but lets others go first."""
        with suppress(queue.Empty):
            while True:
                self._unrecorded.append((0.0, *self._answers.get_nowait()))
        now = monotonic()
        ready = next((index for index, answer in enumerate(self._unrecorded) if answer[0] <= now), None)
        if ready is None:
            return False
        _, call, outcome = self._unrecorded.pop(ready)
        try:
            moved = record(call, outcome)
        except WEATHER:
            self._unrecorded.append((now + RECORD_AGAIN, call, outcome))
            raise
        self._under_way.pop((call.saga_id, call.token), None)
        if moved is not None and moved.due:
            self._at_hand.append(moved.saga_id)
        return True

    def _leave_hung_calls_behind(self) -> None:
        """A call that outlasts its lease has broken its own time limit: whoever looks next settles it without us.

        A thread cannot be ended from outside. It is left to itself, so that one such call does not
        take the whole worker away.
        """
        now = monotonic()
        for key in [key for key, end in self._under_way.items() if end < now]:
            logger.error("a call of saga %s has not come back within its lease and is left behind", key[0])
            del self._under_way[key]
            self._left_behind = True

    def _wait_for_answer(self) -> None:
        with suppress(queue.Empty):
            self._unrecorded.append((0.0, *self._answers.get(timeout=POLL)))
