"""Cursors whose statements PostgreSQL prepares: of the engine's own, planning took longer than running.

Django binds on the client, where every statement is a new text. Only for statements that are few and
constant: a session keeps each, with its plan.
"""

from typing import Any

import psycopg
from django.db import connection
from django.db.backends.utils import CursorWrapper

from sagas.sharing import say_what_is_unsaid


class _PreparedCursor(psycopg.Cursor[Any]):
    def execute(self, query: Any, params: Any = None, **_: Any) -> "_PreparedCursor":
        return super().execute(query, params, prepare=True)


def cursor() -> CursorWrapper:
    """As ``connection.cursor()``: with Django's errors, its log of queries, and in its transaction."""
    connection.ensure_connection()
    say_what_is_unsaid()
    wrapped: CursorWrapper = connection._prepare_cursor(_PreparedCursor(connection.connection))  # type: ignore[attr-defined]
    return wrapped
