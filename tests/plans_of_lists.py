"""The plans PostgreSQL has for what a page reads, on tables that are not small."""

from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

ENOUGH = 5_000


def reads(client: Any, address: str, table: str) -> list[str]:
    """Every statement over ``table`` that the page asks for."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    found = [query["sql"] for query in captured if f'FROM "{table}"' in query["sql"]]
    assert found, f"{address} reads nothing of {table}"
    return found


def plans(client: Any, address: str, table: str) -> str:
    """How PostgreSQL would answer them, in its own words."""
    with connection.cursor() as cursor:
        lines = []
        for statement in reads(client, address, table):
            cursor.execute(f"EXPLAIN {statement}")
            lines += [line for (line,) in cursor.fetchall()]
    return "\n".join(lines)


def fill(table: str, columns: str, values: str) -> None:
    """Rows of ``table``, made of the number ``n`` of each."""
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {values} FROM generate_series(1, {ENOUGH}) n")
        cursor.execute(f"ANALYZE {table}")
