"""Workers that can be killed and frozen: forked processes that drive sagas, and time that moves for them."""

import gc
import json
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

from django.db import connection, connections

from sagas import engine, failpoints
from sagas.attempts import Call
from sagas.choreography.broker import carry
from sagas.engine import record, work
from sagas.models import SagaInstance
from sagas.outcomes import Outcome
from sagas.states import LIVE
from sagas.testing.boundaries import Boundary, Saboteur
from sagas.turns import WEATHER

# A scenario that is still moving after this many turns does not end.
MOST_TURNS = 2_000
# How long a child may take before it is taken for hung.
PATIENCE_S = 30.0
# How often a database that goes away is waited for.
MOST_WEATHER = 20
# Times are moved here and nobody waits: who is taken up late met a machine that stood still, not a step that kills.
LATE = timedelta(hours=1)

# The saga first, then its steps, as the engine locks them; whoever holds the row is waited for.
_WAKE_UP = f"""
    UPDATE sagas_sagainstance SET wake_at = clock_timestamp() - interval '1 ms'
    WHERE wake_at > clock_timestamp() AND status IN ({", ".join(f"'{status}'" for status in sorted(LIVE))})
"""  # noqa: S608 - made of constants
_END_WAITS = "UPDATE sagas_sagastep SET due_at = clock_timestamp() - interval '1 ms' WHERE due_at > clock_timestamp()"

_CARRY_AGAIN = "UPDATE sagas_outboxevent SET due_at = clock_timestamp() WHERE due_at > clock_timestamp()"


def drive() -> None:
    """Work until nothing is due and every call is answered.

    As `sagas.driver`, events included, but on one thread: all calls that can be under way at once begin
    before the first one is made, and every run passes the same points in the same order.
    """
    under_way: deque[Call] = deque()
    answer: tuple[Call, Outcome] | None = None
    weather = 0
    for _ in range(MOST_TURNS):
        try:
            if answer is not None:
                record(*answer)
                answer = None
            elif (done := work()) is not None:
                if isinstance(done, Call):
                    under_way.append(done)
            elif under_way:
                call = under_way.popleft()
                answer = call, call.make()
            elif not carry():
                return
        except WEATHER:
            weather += 1
            if weather > MOST_WEATHER:
                raise
            connection.close()
    raise AssertionError(f"something is due again and again, also after {MOST_TURNS} turns")


def let_time_pass() -> None:
    """End every lease, backoff and timer, just now: times are moved, nobody sleeps."""
    with connection.cursor() as cursor:
        cursor.execute(_WAKE_UP)
        cursor.execute(_END_WAITS)
        cursor.execute(_CARRY_AGAIN)


def settle(rounds: int) -> None:
    """Drive to the rest; ``rounds`` times at most something is waited for."""
    for _ in range(rounds):
        drive()
        if not SagaInstance.objects.filter(wake_at__isnull=False, status__in=LIVE).exists():
            return
        let_time_pass()
    drive()


@dataclass(eq=False)
class Child:
    """A forked worker that runs ``body``. What it has to say stands in ``told``, also after it was killed."""

    body: Callable[["Child"], None]
    saboteur: Saboteur
    told: list[Any] = field(default_factory=list)
    pid: int = 0
    _pipe: int = -1
    _text: bytes = b""
    _inherited: list[Any] = field(default_factory=list)

    def start(self) -> "Child":
        self._pipe, write_end = os.pipe()
        _alive.append(self)
        self.pid = os.fork()
        if self.pid == 0:
            self._run(write_end)
        os.close(write_end)
        os.set_blocking(self._pipe, False)
        return self

    def tell(self, *what: Any) -> None:
        """In the child: one line that the parent reads."""
        os.write(self._pipe, json.dumps(what).encode() + b"\n")

    def _run(self, write_end: int) -> None:
        """Never returns: nothing of the parent's, such as the rest of a test, may run a second time."""
        self._pipe = write_end
        # Collecting garbage would copy the parent's memory page by page.
        gc.disable()
        engine.LATE = LATE
        try:
            self._forget_connections()
            with failpoints.listening(self.saboteur):
                self.body(self)
            self.tell("passed", [[b.name, b.nth, b.in_transaction] for b in self.saboteur.passed])
        except BaseException:
            self.tell("broke", traceback.format_exc(limit=-8))
        finally:
            os._exit(0)

    def _forget_connections(self) -> None:
        """Two processes must not talk on one connection, and only the parent may say goodbye on its own.

        It keeps them, since a session that is warm audits faster.
        """
        for inherited in connections.all(initialized_only=True):
            self._inherited.append(inherited.connection)
            inherited.connection = None

    def wait(self) -> str:
        """Until it has ended, or stopped itself: "ended", "killed" or "stopped". Who is interrupted here ends it."""
        try:
            return self._wait()
        except BaseException:
            self.end()
            raise

    def _wait(self) -> str:
        until, pause = monotonic() + PATIENCE_S, 0.0005
        while monotonic() < until:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            self._read()
            if pid and os.WIFSTOPPED(status):
                return "stopped"
            if pid:
                self._is_over()
                return "killed" if os.WIFSIGNALED(status) else "ended"
            sleep(pause)
            pause = min(pause * 1.5, 0.003)
        self.end()
        self.told.append(["broke", f"it hung for {PATIENCE_S:g} s"])
        return "killed"

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """At once, also when it is frozen."""
        if self.pid:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        self._is_over()

    def _is_over(self) -> None:
        if self in _alive:
            _alive.remove(self)
            os.close(self._pipe)

    def has_told(self, what: str) -> bool:
        return any(line[0] == what for line in self.told)

    @property
    def passed(self) -> list[Boundary]:
        return [Boundary(*values) for line in self.told if line[0] == "passed" for values in line[1]]

    @property
    def broke(self) -> list[str]:
        return [line[1] for line in self.told if line[0] == "broke"]

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while chunk := os.read(self._pipe, 65536):
                self._text += chunk
        *lines, self._text = self._text.split(b"\n")
        self.told += [json.loads(line) for line in lines]


# Who was forked and has not ended, frozen ones among them.
_alive: list[Child] = []


@contextmanager
def no_survivors() -> Iterator[None]:
    """However the block is left, no worker that was forked in it outlives it."""
    before = list(_alive)
    try:
        yield
    finally:
        for child in [child for child in _alive if child not in before]:
            child.end()


# --- what a worker does to itself -----------------------------------------------------------------


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def freeze() -> None:
    """Stop, for as long as it takes others to give this worker up. PostgreSQL ends a transaction that is open."""
    if connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '10ms'")
    stop_oneself()


def stop_oneself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
