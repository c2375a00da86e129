"""Empties the database after a test with real commits, in milliseconds.

Django's own flush truncates every table and makes content types and permissions anew, half a
second each time. Only what holds rows is emptied here, and what `migrate` made is left alone.
"""

from typing import Any

import pytest
from django.db import connection
from django.test import TransactionTestCase

# Without the triggers: foreign keys would ask for an order, ledgers refuse to forget. Superusers only.
_EMPTY = """
DO $$
DECLARE
    name text;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'
        AND tablename NOT IN ('django_migrations', 'django_content_type', 'auth_permission')
    LOOP
        EXECUTE 'DELETE FROM ' || name;
    END LOOP;
END $$
"""


@pytest.fixture(scope="session", autouse=True)
def quick_emptying() -> Any:
    flush = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]

    def empty(case: TransactionTestCase) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('is_superuser') = 'on'")
            may_switch_triggers_off = cursor.fetchone()[0]
            if may_switch_triggers_off:
                cursor.execute(_EMPTY)
        if not may_switch_triggers_off:
            flush(case)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty)
        yield
