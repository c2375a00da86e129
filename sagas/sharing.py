"""Several sagas in one transaction, one after the other: what one raises takes back what it wrote, and nothing else.

Each has its turn in a savepoint of its own, as the holder of its locks. The statements that say so go along with
the first statement of the turn: by themselves they would take as long as a step.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self
from uuid import UUID

import psycopg
from django.db import connection
from django.db.backends.postgresql.base import CursorMixin

# Others share the transaction: wait for nobody for long, who may be waiting for one of them.
_BE_QUICK = "SET LOCAL lock_timeout = '20ms'"


class Sharing:
    """Turns in the transaction at hand. While it lasts, the connection makes its cursors with this."""

    def __init__(self) -> None:
        self._driver: psycopg.Connection[Any] = connection.connection
        self._cursor_factory = self._driver.cursor_factory
        self._statements = connection.cursor()
        self._savepoint = ""
        self._turns = 0
        # What has to be said before anything else is.
        self._unsaid: list[str] = []

    def __enter__(self) -> Self:
        # It may be whatever makes cursors.
        self._driver.cursor_factory = self  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.cursor_factory = self._cursor_factory

    def __call__(self, driver: psycopg.Connection[Any], **options: Any) -> "_TurnCursor":
        return _TurnCursor(self, driver, **options)

    @contextmanager
    def turn(self, saga_id: UUID) -> Iterator[None]:
        """Act for a saga. What is raised in here takes back what was written in here."""
        callbacks = len(connection.run_on_commit)
        # A name of its own: going back to one that was never set fails, and cannot take the one before.
        self._turns += 1
        savepoint = f"turn_{self._turns}"
        before = f"RELEASE SAVEPOINT {self._savepoint}" if self._savepoint else _BE_QUICK
        self._unsaid = [before, f"SAVEPOINT {savepoint}", f"SET LOCAL sagas.holder = '{saga_id}'"]
        try:
            yield
        except Exception:
            # The step may have asked for a rollback; here it is.
            connection.needs_rollback = False
            if not self._unsaid:
                self._statements.execute(f"ROLLBACK TO SAVEPOINT {savepoint}")
            del connection.run_on_commit[callbacks:]
            raise
        finally:
            if not self._unsaid:
                self._savepoint = savepoint
            self._unsaid = []

    def to_be_said(self) -> list[str]:
        """What is still unsaid; whoever asks says it."""
        unsaid, self._unsaid = self._unsaid, []
        return unsaid

    def say(self) -> None:
        """Say what is still unsaid by itself, before what it cannot go along with."""
        if unsaid := self.to_be_said():
            self._statements.execute("; ".join(unsaid))


class _TurnCursor(CursorMixin, psycopg.ClientCursor[Any]):
    """Django's cursor; the first statement of a turn brings along what opens the turn."""

    def __init__(self, sharing: Sharing, driver: psycopg.Connection[Any], **options: Any) -> None:
        self._sharing = sharing
        super().__init__(driver, **options)

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        if not isinstance(query, str):
            self._sharing.say()
        if not (first := self._sharing.to_be_said()):
            return super().execute(query, params, **options)
        super().execute("; ".join([*first, query]), params, **options)
        self.set_result(len(first))
        return self

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        self._sharing.say()
        super().executemany(query, params_seq, **options)

    def stream(self, query: Any, params: Any = None, **options: Any) -> Iterator[Any]:
        self._sharing.say()
        return super().stream(query, params, **options)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[psycopg.Copy]:
        self._sharing.say()
        with super().copy(statement, params, **options) as copy:
            yield copy


def say_what_is_unsaid() -> None:
    """For cursors that are not made by the connection: open the turn at hand, if there is one that is not open."""
    sharing = connection.connection.cursor_factory
    if isinstance(sharing, Sharing):
        sharing.say()
