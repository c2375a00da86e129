"""Cursors whose statements PostgreSQL prepares: of the engine's own, planning took longer than running.

Django binds on the client, where every statement is a new text. Only for statements that are few and
constant: a session keeps each, with its plan.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.utils import CursorWrapper

from sagas.sharing import say_what_is_unsaid


class _PreparedCursor(psycopg.Cursor[Any]):
    def execute(self, query: Any, params: Any = None, **_: Any) -> "_PreparedCursor":
        # Only now: while the driver may prepare statements it counts each text that anybody sends, and it forgets
        # what is prepared when a savepoint is gone back to.
        self.connection.prepare_threshold = 0
        try:
            return super().execute(query, params, prepare=True, binary=True)
        finally:
            self.connection.prepare_threshold = None


def cursor() -> CursorWrapper:
    """As ``connection.cursor()``: with Django's errors, its log of queries, and in its transaction."""
    # Not the proxy, which looks for its connection at each use.
    here = connections[DEFAULT_DB_ALIAS]
    here.ensure_connection()
    say_what_is_unsaid(here.connection)
    wrapped: CursorWrapper = here._prepare_cursor(_PreparedCursor(here.connection))  # type: ignore[attr-defined]
    return wrapped


def by_ids(sql: str, ids: Sequence[UUID]) -> tuple[str, Any]:
    """A statement for the rows with these ids, and its parameter ``ids``, which ``sql`` has as ``= ANY(%(ids)s)``.

    One is looked for by itself: to sort the keys of an array takes PostgreSQL longer than to find one.
    """
    return (_by_id(sql), ids[0]) if len(ids) == 1 else (sql, list(ids))


@cache
def _by_id(sql: str) -> str:
    return sql.replace("= ANY(%(ids)s)", "= %(ids)s")
