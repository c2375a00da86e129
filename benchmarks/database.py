"""What the harness itself asks of PostgreSQL, over a connection of its own."""

import os
import time

import psycopg

from benchmarks.work import PRODUCTS, STOCK, Batch

PATIENCE_S = 300

_WAITING = "SELECT count(*) < %s FROM bench_order WHERE ended_at IS NOT NULL AND number BETWEEN %s AND %s"


def connect() -> psycopg.Connection[tuple[object, ...]]:
    """Not logged: what the harness asks is not counted as a contender's."""
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, options="-c log_statement=none")


def numbers(batch: Batch) -> tuple[str, str]:
    """The first and the last."""
    return f"B{batch.first:09}", f"B{batch.first + batch.count - 1:09}"


def wait_for_ends(batch: Batch) -> None:
    """Look every 20 ms, which costs a contender that works in the background next to nothing."""
    until = time.monotonic() + PATIENCE_S
    with connect() as connection:
        while one(connection, _WAITING, batch.count, *numbers(batch)):
            if time.monotonic() > until:
                raise TimeoutError(f"{batch} has not ended after {PATIENCE_S} s")
            time.sleep(0.02)


def latencies(batch: Batch, started: list[float]) -> list[float]:
    """Seconds from the commit of each start to the statement that ended the order: two clocks of one machine."""
    with connect() as connection:
        ends = connection.execute(
            "SELECT extract(epoch FROM ended_at)::float FROM bench_order "
            "WHERE number BETWEEN %s AND %s ORDER BY number",
            numbers(batch),
        ).fetchall()
    return [float(str(end)) - start for (end,), start in zip(ends, started, strict=True)]


def wal_position() -> int:
    with connect() as connection:
        return one(connection, "SELECT (pg_current_wal_lsn() - '0/0')::bigint")


def empty() -> None:
    """The same tables for each turn: no orders, no sagas, all products in stock, nothing left to vacuum."""
    with connect() as connection:
        connection.execute("TRUNCATE bench_order, bench_payment, bench_shipment, sagas_sagainstance CASCADE")
        connection.execute("TRUNCATE bench_product CASCADE")
        connection.execute("INSERT INTO bench_product SELECT n, %s FROM generate_series(1, %s) n", (STOCK, PRODUCTS))
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def check(batch: Batch) -> int:
    """How many orders ended as they should; raises if one did not, or if the stock is wrong."""
    with connect() as connection:
        expected = sum(not declined for *_, declined in _orders(batch))
        confirmed = one(
            connection,
            "SELECT count(*) FROM bench_order o JOIN bench_payment p ON p.order_id = number "
            "JOIN bench_shipment s ON s.order_id = number WHERE status = 'CONFIRMED' AND number BETWEEN %s AND %s",
            *numbers(batch),
        )
        cancelled = one(
            connection,
            "SELECT count(*) FROM bench_order WHERE status = 'CANCELLED' AND number BETWEEN %s AND %s",
            *numbers(batch),
        )
        reserved = one(connection, f"SELECT sum({STOCK} - stock) FROM bench_product")  # noqa: S608 - a constant
        sold = one(connection, "SELECT coalesce(sum(quantity), 0) FROM bench_order WHERE status = 'CONFIRMED'")
    if (confirmed, cancelled, reserved) != (expected, batch.count - expected, sold):
        raise AssertionError(f"{batch}: {confirmed=} {expected=} {cancelled=} {reserved=} {sold=}")
    return confirmed + cancelled


def _orders(batch: Batch) -> list[tuple[str, int, int, int, bool]]:
    return list(batch.orders())


def log_statements(on: bool) -> None:
    with connect() as connection:
        connection.execute(f"ALTER SYSTEM SET log_statement = '{'all' if on else 'none'}'")
        connection.execute("SELECT pg_reload_conf()")
    time.sleep(0.5)  # each backend takes the new setting with its next statement


def one(connection: psycopg.Connection[tuple[object, ...]], query: str, *parameters: object) -> int:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return int(str(row[0])) if not isinstance(row[0], bool) else int(row[0])
