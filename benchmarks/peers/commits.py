"""One statement is one commit: the cheapest way to do a step. The engine's own steps go through the ORM."""

import functools
import os
import time
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from benchmarks.statements import PLACE


@functools.cache
def _connection() -> "psycopg.Connection[Any]":
    """One a process, opened by the process that uses it: a forked one must not share its parent's."""
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)


@functools.cache
def _pool() -> "AsyncConnectionPool[Any]":
    return AsyncConnectionPool(os.environ["DATABASE_URL"], max_size=10, open=False, kwargs={"autocommit": True})


def commit(statement: str, *parameters: object) -> None:
    _connection().execute(statement.encode(), parameters)


async def commit_async(statement: str, *parameters: object) -> None:
    pool = _pool()
    await pool.open()
    async with pool.connection() as connection:
        await connection.execute(statement.encode(), parameters)


def place(number: str, product: int, quantity: int, cents: int) -> float:
    """Returns when it was committed: from then on a customer waits, also for what begins the work."""
    commit(PLACE, number, product, quantity, cents)
    return time.time()
