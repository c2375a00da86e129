"""The accounts on both sides, as the harness sees them. No Django here: the coordinator imports it as well."""

import os
import time

import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks import database
from benchmarks.transfer_app import there
from benchmarks.work import Batch

# What each account holds at first, on either side.
CENTS = 1_000_000_000_000
MOST = 50

_TABLES = """
    CREATE TABLE account (id int PRIMARY KEY, cents bigint NOT NULL);
    CREATE TABLE credit (key text PRIMARY KEY)
"""
_FILL = "INSERT INTO {} (id, cents) SELECT n, %s FROM generate_series(1, %s) n"
_ENDED = "SELECT count(*) FROM bench_transfers_transfer WHERE status = 'DONE' AND number BETWEEN %s AND %s"


def account_of(product: int) -> int:
    """Which account a drawn number stands for: ``ACCOUNTS`` says between how many the transfers are spread."""
    return 1 + product % int(os.environ["ACCOUNTS"])


def create_there() -> None:
    """The second database, on the same server: two databases share no transaction, wherever they are."""
    with database.connect() as connection:
        connection.execute(f"CREATE DATABASE {there.NAME}".encode())
        socket = connection.info.host
        os.environ["THERE_URL"] = make_conninfo(host=socket, user=connection.info.user, dbname=there.NAME)
    with connect_there() as connection:
        connection.execute(_TABLES)


def connect_there() -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(there.url(), autocommit=True)


def empty() -> None:
    """As if nothing had ever been transferred."""
    with database.connect() as here, connect_there() as far:
        here.execute("TRUNCATE bench_transfers_account, bench_transfers_transfer, sagas_sagainstance CASCADE")
        here.execute(_FILL.format("bench_transfers_account").encode(), (CENTS, MOST))
        far.execute("TRUNCATE account, credit")
        far.execute(_FILL.format("account").encode(), (CENTS, MOST))
        for connection in (here, far):
            connection.execute("VACUUM ANALYZE")
        here.execute("CHECKPOINT")


def wait_for_ends(batch: Batch) -> None:
    """Look every 20 ms, as for the orders of the other benchmarks."""
    until = time.monotonic() + database.PATIENCE_S
    with database.connect() as connection:
        while _ended(connection, batch) < batch.count:
            if time.monotonic() > until:
                raise TimeoutError(f"{batch} has not ended after {database.PATIENCE_S} s")
            time.sleep(0.02)


def check(batch: Batch) -> int:
    """How many transfers ended; raises unless all did, and what left here has arrived there."""
    with database.connect() as here:
        ended = _ended(here, batch)
    left, arrived = moved()
    sent = sum(cents for _, _, _, cents, _ in batch.orders())
    if (ended, left, arrived) != (batch.count, sent, sent):
        raise AssertionError(
            f"{ended} of {batch.count} transfers ended, {left} cents left, {arrived} of {sent} arrived"
        )
    return ended


def moved() -> tuple[int, int]:
    """How many cents have left here, and how many have arrived there."""
    with database.connect() as here, connect_there() as far:
        left = database.one(here, "SELECT sum(%s - cents)::bigint FROM bench_transfers_account", CENTS)
        return left, database.one(far, "SELECT sum(cents - %s)::bigint FROM account", CENTS)


def _ended(connection: psycopg.Connection[tuple[object, ...]], batch: Batch) -> int:
    return database.one(connection, _ENDED, *database.numbers(batch))
