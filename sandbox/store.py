"""What a sandbox service remembers: a SQLite file, so that it survives being killed."""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

type_json = dict[str, Any]

_TABLES = """
CREATE TABLE IF NOT EXISTS object (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, reference TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS object_by_reference ON object (kind, reference);
CREATE TABLE IF NOT EXISTS answer (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY, body TEXT NOT NULL, due REAL NOT NULL, tries INTEGER NOT NULL DEFAULT 0
);
"""


class Store:
    """Objects as JSON, kept answers by idempotency key, and webhooks to be sent. One writer at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_TABLES)
        self._remembers = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block or nothing of it is kept."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def put(self, kind: str, body: type_json, reference: str) -> None:
        with self._lock:
            self._db.execute(
                "INSERT INTO object (id, kind, reference, body) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                (body["id"], kind, reference, json.dumps(body)),
            )

    def get(self, kind: str, id_: str) -> type_json | None:
        return next(self._select("kind = ? AND id = ?", kind, id_), None)

    def referring(self, kind: str, reference: str) -> list[type_json]:
        """Oldest first."""
        return list(self._select("kind = ? AND reference = ?", kind, reference))

    def all(self, kind: str) -> list[type_json]:
        return list(self._select("kind = ?", kind))

    def _select(self, where: str, *values: str) -> Iterator[type_json]:
        with self._lock:
            rows = self._db.execute(f"SELECT body FROM object WHERE {where} ORDER BY seq", values).fetchall()  # noqa: S608
        return (json.loads(body) for (body,) in rows)

    def kept_answer(self, key: str) -> tuple[str, int, type_json] | None:
        with self._lock:
            row = self._db.execute("SELECT fingerprint, status, body FROM answer WHERE key = ?", (key,)).fetchone()
        return (row[0], row[1], json.loads(row[2])) if row else None

    def keep_answer(self, key: str, fingerprint: str, status: int, body: type_json) -> None:
        with self._lock:
            self._db.execute("INSERT INTO answer VALUES (?, ?, ?, ?)", (key, fingerprint, status, json.dumps(body)))

    def forget_answers(self) -> None:
        with self._lock:
            self._db.execute("DELETE FROM answer")

    def remember(self) -> None:
        """Keep a copy of everything as it is now, until the process ends."""
        with self.transaction():
            for table in ("object", "answer"):
                self._db.execute(f"DROP TABLE IF EXISTS temp.{table}_then")
                self._db.execute(f"CREATE TEMP TABLE {table}_then AS SELECT * FROM {table}")  # noqa: S608
            self._remembers = True

    def go_back(self) -> bool:
        """Everything as it was when it was remembered; False if it never was."""
        with self.transaction():
            if self._remembers:
                self._db.execute("DELETE FROM outbox")
                for table in ("object", "answer"):
                    self._db.execute(f"DELETE FROM {table}")  # noqa: S608
                    self._db.execute(f"INSERT INTO {table} SELECT * FROM temp.{table}_then")  # noqa: S608
        return self._remembers

    def queue_webhook(self, body: type_json) -> None:
        with self._lock:
            self._db.execute("INSERT INTO outbox (body, due) VALUES (?, ?)", (json.dumps(body), time.time()))

    def due_webhooks(self, limit: int = 50) -> list[tuple[int, str, int]]:
        with self._lock:
            return self._db.execute(
                "SELECT seq, body, tries FROM outbox WHERE due <= ? ORDER BY seq LIMIT ?", (time.time(), limit)
            ).fetchall()

    def webhook_sent(self, seq: int) -> None:
        with self._lock:
            self._db.execute("DELETE FROM outbox WHERE seq = ?", (seq,))

    def webhook_failed(self, seq: int, retry_in: float) -> None:
        with self._lock:
            self._db.execute(
                "UPDATE outbox SET tries = tries + 1, due = ? WHERE seq = ?", (time.time() + retry_in, seq)
            )


def new_id(prefix: str) -> str:
    """An id as the real services make them: a prefix and random characters."""
    return f"{prefix}_{secrets.token_hex(12)}"
