"""Drives many sagas at once in one process: local steps one after the other, remote calls on threads.

A call that takes long holds a thread and a lease, no transaction and no database connection,
so that a slow bank does not cap the shop. Only the thread that drives writes rows.
"""

import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import ClassVar
from uuid import UUID

from django.conf import settings
from django.db import close_old_connections, connections

from sagas.attempts import Call
from sagas.choreography.broker import carry
from sagas.engine import Moved, record, record_together, work, work_together
from sagas.jobs import hint
from sagas.outcomes import Outcome
from sagas.store import LoadedSaga
from sagas.turns import WEATHER

logger = logging.getLogger(__name__)

# How long one job drives before it makes way for the next one.
SECONDS = 20.0
# How often to look for what is newly due while calls are under way.
POLL = 0.02
# How many sagas share a commit at most.
TOGETHER = 50
# How long events may wait at most while sagas are due all the time.
EVENTS_EVERY = 0.25
# How long an answer that could not be written down lets others go first.
RECORD_AGAIN = 1.0
# How often to ask at most whether the connection to the database still serves: it takes as long as a statement.
CHECK_EVERY = 1.0

_stopping = threading.Event()
# The names of threads that make calls begin with this.
_CALLS = "saga-call"


def stop() -> None:
    """Ask the driver of this process to finish what is under way and to start nothing new."""
    _stopping.set()


def stopping() -> bool:
    return _stopping.is_set()


def wait_to_stop(seconds: float) -> None:
    """Pause, but not longer than until `stop` is called."""
    _stopping.wait(seconds)


def leave() -> None:
    """To be called at the end of a process: ends it at once if a call that was left behind still hangs.

    Python would wait for the thread of that call.
    """
    if any(thread.name.startswith(_CALLS) for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(0)


def drain_due(seconds: float = SECONDS) -> bool:
    """Drive what is due until nothing is, or for ``seconds``; says whether something may be left.

    Returns when no call is under way any more, which is soon after: each has a time limit.
    """
    if monotonic() > Driver.check_at:
        close_old_connections()
        Driver.check_at = monotonic() + CHECK_EVERY
    with Driver(seconds) as driver:
        return driver.drain()


class Driver:
    """One drain: the sagas at hand, the calls under way, and the answers that came back."""

    check_at: ClassVar[float] = 0.0

    def __init__(self, seconds: float) -> None:
        self._until = monotonic() + seconds
        self._most_calls: int = settings.SAGAS_CALLS_IN_FLIGHT
        self._pool = ThreadPoolExecutor(self._most_calls, thread_name_prefix=_CALLS)
        # What can go on at once: known from its last commit, or to be loaded and to go on by itself.
        self._at_hand: deque[LoadedSaga] = deque()
        self._apart: deque[UUID] = deque()
        # Each call by its saga and token, with the end of its lease.
        self._under_way: dict[tuple[UUID, int], float] = {}
        # How many threads of the pool hang in calls that nobody waits for any more.
        self._left_behind = 0
        self._events_at = monotonic() + EVENTS_EVERY
        self._answers: queue.SimpleQueue[tuple[Call, Outcome]] = queue.SimpleQueue()
        # Answers to be written down, each with the time from which to try.
        self._unrecorded: list[tuple[float, Call, Outcome]] = []

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=not self._left_behind)

    def drain(self) -> bool:
        """Drive until nothing is due or time is up; says whether something may be left."""
        while True:
            try:
                if self._record_answers() or self._start_something():
                    continue
            except WEATHER as error:
                logger.warning("the database is away, trying again: %s", error)
                _stopping.wait(0.5)
                close_old_connections()
                if not _stopping.is_set() and (self._under_way or not self._time_is_up()):
                    continue
                return True
            if not self._under_way:
                return self._time_is_up() or self._left_behind > 0
            self._leave_hung_calls_behind()
            self._wait_for_answer()

    def _time_is_up(self) -> bool:
        return _stopping.is_set() or monotonic() > self._until

    def _start_something(self) -> bool:
        """The next commit for the sagas at hand, or for those that have been due the longest."""
        room = min(TOGETHER, self._most_calls - len(self._under_way) - self._left_behind)
        if self._time_is_up() or room <= 0:
            return False
        if monotonic() > self._events_at and self._carry_events():
            return True
        if self._apart:
            done = work(self._apart.popleft())
            self._go_on([] if done is None else [done])
            return True
        if self._at_hand:
            self._go_on(work_together(room, [self._at_hand.popleft() for _ in range(min(room, len(self._at_hand)))]))
            return True
        found = work_together(room)
        self._go_on(found)
        if len(found) >= room:
            # There is work for another worker as well.
            hint()
        return bool(found) or self._carry_events()

    def _carry_events(self) -> bool:
        try:
            return carry()
        except WEATHER:
            raise
        except Exception:
            logger.exception("events cannot be carried; sagas go on")
            return False
        finally:
            self._events_at = monotonic() + EVENTS_EVERY

    def _go_on(self, found: Sequence[Moved | Call]) -> None:
        """Make the calls, and keep at hand what can go on."""
        for done in found:
            if isinstance(done, Call):
                self._under_way[done.saga_id, done.token] = monotonic() + done.lease.total_seconds()
                self._pool.submit(self._make, done)
            if done.due:
                if isinstance(done, Moved) and done.saga is not None:
                    self._at_hand.append(done.saga)
                else:
                    self._apart.append(done.saga_id)

    def _make(self, call: Call) -> None:
        """On a thread of the pool: make the call and pass the answer on."""
        try:
            self._answers.put((call, call.make()))
        finally:
            connections.close_all()

    def _record_answers(self) -> bool:
        """Write answers down; each stays in line until that has succeeded, but lets others go first."""
        with suppress(queue.Empty):
            while True:
                self._unrecorded.append((0.0, *self._answers.get_nowait()))
        now = monotonic()
        ready: dict[UUID, tuple[float, Call, Outcome]] = {}
        for answer in self._unrecorded:
            if answer[0] <= now and len(ready) < TOGETHER:
                ready.setdefault(answer[1].saga_id, answer)
        if not ready:
            return False
        self._unrecorded = [answer for answer in self._unrecorded if answer is not ready.get(answer[1].saga_id)]
        left = [(call, outcome) for _, call, outcome in ready.values()]
        if len(left) > 1:
            moved, left_over = record_together(left)
            self._recorded([answer for answer in left if answer not in left_over], moved)
            left = left_over
        for number, (call, outcome) in enumerate(left):
            try:
                done = record(call, outcome)
            except WEATHER:
                self._unrecorded += [(now + RECORD_AGAIN, *answer) for answer in left[number:]]
                raise
            self._recorded([(call, outcome)], [] if done is None else [done])
        return True

    def _recorded(self, answers: Sequence[tuple[Call, Outcome]], moved: Sequence[Moved]) -> None:
        for call, _ in answers:
            self._under_way.pop((call.saga_id, call.token), None)
        self._go_on(moved)

    def _leave_hung_calls_behind(self) -> None:
        """A call that outlasts its lease has broken its own time limit: whoever looks next settles it without us.

        A thread cannot be ended from outside. It is left to itself, so that one such call does not
        take the whole worker away.
        """
        now = monotonic()
        for key in [key for key, end in self._under_way.items() if end < now]:
            logger.error("a call of saga %s has not come back within its lease and is left behind", key[0])
            del self._under_way[key]
            self._left_behind += 1

    def _wait_for_answer(self) -> None:
        with suppress(queue.Empty):
            self._unrecorded.append((0.0, *self._answers.get(timeout=POLL)))
