"""Big tables, made by copying the rows of one that went through: real rows, at the speed of the database."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

from psycopg import sql

from benchmarks.database import connect

# Ids ordered by time as those of real sagas, over the two months that ended a day ago.
_GROWN = """
    CREATE UNLOGGED TABLE bench_grown AS
    SELECT n, uuidv7(shift) AS id, 'G' || lpad(n::text, 9, '0') AS key, statement_timestamp() + shift AS at
    FROM generate_series(1, %s) n, LATERAL (SELECT -interval '61 days' + interval '60 days' * n / %s AS shift)
"""
_COLUMNS = """
    SELECT column_name FROM information_schema.columns
    WHERE table_name = %s AND NOT (column_name = 'id' AND is_identity = 'YES') ORDER BY ordinal_position
"""
_SAGA = {"id": "g.id", "business_key": "g.key", "created_at": "g.at", "updated_at": "g.at", "ended_at": "g.at"}
_OF_SAGA = {"saga_id": "g.id"}
PARTS = ("sagas_sagastep", "sagas_stepattempt", "sagas_sagaevent")


@dataclass(frozen=True)
class Copy:
    """Rows of ``table`` where ``column`` is ``value``, once for each of the last ``count`` numbers, as ``new`` says."""

    table: str
    column: str
    value: object
    new: Mapping[str, str]
    count: int


def number(rows: int) -> None:
    """The numbers, ids, keys and times that the copies have."""
    with connect() as connection:
        connection.execute("DROP TABLE IF EXISTS bench_grown")
        connection.execute(_GROWN, (rows, rows))
        connection.execute("CREATE UNIQUE INDEX ON bench_grown (n)")
        connection.execute("ANALYZE bench_grown")


def sagas(saga: UUID, rows: int, with_parts: int) -> None:
    """Copy a finished saga ``rows`` times, the last ``with_parts`` of them with steps, attempts and events."""
    copy([Copy("sagas_sagainstance", "id", saga, _SAGA, rows)])
    copy([Copy(part, "saga_id", saga, _OF_SAGA, with_parts) for part in PARTS])


def copy(copies: list[Copy]) -> None:
    """Two at a time: more would wait for the same disk."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_copy, copies))


def _copy(made: Copy) -> None:
    with connect() as connection:
        names = [str(name) for (name,) in connection.execute(_COLUMNS, (made.table,))]
        values = [sql.SQL(made.new[n]) if n in made.new else sql.Identifier("t", n) for n in names]
        statement = sql.SQL(
            "INSERT INTO {table} ({names}) SELECT {values} FROM bench_grown g CROSS JOIN {table} t "
            "WHERE t.{column} = {value} AND g.n > (SELECT max(n) - {count} FROM bench_grown) ORDER BY g.n"
        ).format(
            table=sql.Identifier(made.table),
            names=sql.SQL(", ").join(map(sql.Identifier, names)),
            values=sql.SQL(", ").join(values),
            column=sql.Identifier(made.column),
            value=sql.Literal(made.value),
            count=sql.Literal(made.count),
        )
        connection.execute(statement)
        connection.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(made.table)))
