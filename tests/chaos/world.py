"""The running shop: `manage.py up` in a folder of its own, its parts and their processes, and its database."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg.rows import dict_row

from config.embedded.postgres import postgres_url
from config.embedded.service import launcher_command
from config.embedded.valkey import valkey_url
from config.up.control import ask

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
START_SECONDS = 90
HTTP_SECONDS = 15
# What a lost connection, a restart or a part that is away looks like from here.
WEATHER = (psycopg.Error, redis.RedisError, OSError, HTTPException)


class ChaosFailed(Exception):
    """The run itself could not be carried out."""


class World:
    """One shop for one run. `start`, then `stop`, whatever happens between."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.workers = folder, workers
        self.port = three_free_ports()
        self.database, self.valkey = postgres_url(folder), valkey_url(folder)
        self.log = folder / "up.log"
        self.seen: set[int] = set()
        self._control = threading.Lock()
        self._up: subprocess.Popen[bytes] | None = None

    # --- the whole ---

    def start(self) -> None:
        """Raise `ChaosFailed` when the shop does not open."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            # Tied to our life: when this process is killed, `up` stops everything.
            command = launcher_command((sys.executable, str(ROOT / "manage.py"), "up"), "self", signal.SIGTERM)
            self._up = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.seen.add(self._up.pid)
        if not wait_until(lambda: "storefront" in self.log.read_text() or not self.is_up(), START_SECONDS):
            raise ChaosFailed(f"the shop did not open in {START_SECONDS} s: {self.log}")
        if not self.is_up():
            raise ChaosFailed(f"the shop did not start:\n{self.log.read_text()[-2000:]}")
        self.parts()

    def stop(self) -> list[int]:
        """Stop everything; returns the processes that are left, which should be none."""
        if self._up is None:
            return []
        with suppress(Exception):
            self.parts()
        self._up.terminate()
        try:
            self._up.wait(60)
        except subprocess.TimeoutExpired:
            self._up.kill()
            self._up.wait()
        wait_until(lambda: not any(map(is_running, self.seen)), 15)
        return [pid for pid in self.seen if is_running(pid)]

    def is_up(self) -> bool:
        return self._up is not None and self._up.poll() is None

    def environment(self) -> dict[str, str]:
        """None of the caller's settings but the path: the run depends on its options only."""
        return {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(self.folder),
            "PORT": str(self.port),
            "WORKERS": str(self.workers),
            "API_ORDERS_PER_MINUTE": "1000000",
            "PYTHONWARNINGS": "ignore::RuntimeWarning",
        }

    def manage(self, *arguments: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    # --- its parts ---

    def parts(self) -> dict[str, int | None]:
        """Each part's process; None while it is stopped or about to start again."""
        found: dict[str, int | None] = {}
        for line in self.ask("status").splitlines():
            name, _, state = line.partition(":")
            pid = state.rpartition("(process ")[2].rstrip(")")
            found[name] = int(pid) if pid.isdecimal() else None
        self.seen.update(pid for pid in found.values() if pid)
        return found

    def running(self, name: str) -> int | None:
        """The process of a part, if it runs right now."""
        pid = self.parts().get(name)
        return pid if pid and is_running(pid) else None

    def ask(self, question: str) -> str:
        with self._control:  # the supervisor answers one at a time, and is busy while it starts a part
            return ask(self.folder, question)

    def all_run(self) -> bool:
        return all(pid and is_running(pid) for pid in self.parts().values())

    # --- what they say ---

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Ask PostgreSQL, on a connection of its own. Raises `WEATHER`."""
        with psycopg.connect(self.database, connect_timeout=3, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(query, values or None).fetchall()

    def redis(self) -> "redis.Redis[bytes]":
        return redis.Redis.from_url(self.valkey, socket_connect_timeout=1, socket_timeout=2)

    def outside(self, service: str) -> int:
        """The port of the bank or the carrier."""
        return self.port + {"bank": 1, "carrier": 2}[service]

    def control(self, service: str, **wish: Any) -> dict[str, Any]:
        return self._json(self.outside(service), "POST", "/_control", wish)

    def faults_fired(self, service: str) -> dict[str, int]:
        fired: dict[str, int] = self._json(self.outside(service), "GET", "/_control")["fired"]
        return fired

    def ledger(self, service: str) -> list[dict[str, Any]]:
        """The independent witness: what the bank or the carrier believes by itself."""
        told = self._json(self.outside(service), "GET", "/_ledger")
        return next(rows for rows in told.values() if isinstance(rows, list))

    def _json(self, port: int, method: str, path: str, body: Any = None) -> Any:
        status, text, _ = http(port, method, path, body)
        if status != 200:
            raise HTTPException(f"{path} answered {status}: {text[:200]}")
        return json.loads(text)


def http(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, str, dict[str, str]]:
    """One request on a connection of its own. Raises `OSError` or `HTTPException` when no answer comes."""
    with closing(HTTPConnection(HOST, port, timeout=HTTP_SECONDS)) as connection:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json", **(headers or {})})
        with connection.getresponse() as answer:
            return answer.status, answer.read().decode(errors="replace"), dict(answer.getheaders())


def is_running(pid: int) -> bool:
    """Whether the process lives; one that has ended and was not yet noticed does not."""
    return state_of(pid) not in ("", "Z", "X")


def state_of(pid: int) -> str:
    """One letter, as in ps: T is stopped. Empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.1) -> bool:
    """Whether ``condition`` came true in time. An answer that does not come counts as not yet."""
    give_up_at = time.monotonic() + seconds
    while True:
        with suppress(*WEATHER):
            if condition():
                return True
        if time.monotonic() > give_up_at:
            return False
        time.sleep(pause)


def three_free_ports() -> int:
    start = random.SystemRandom().randrange(20_000, 31_000)
    for first in range(start, start + 1000, 3):
        if not any(is_listening(port) for port in (first, first + 1, first + 2)):
            return first
    raise ChaosFailed("no three free ports in a row")


def is_listening(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
