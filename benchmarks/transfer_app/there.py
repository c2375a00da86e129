"""The second database, as both contenders reach it. No Django here.

``DISTANCE_MS`` is how long each request to it is under way: as long as it takes to another host, or to another town.
"""

import atexit
import os
import time
from functools import cache

from psycopg_pool import ConnectionPool

NAME = "there"

# The key stands in the same commit as its money: a credit that is asked for twice is given once.
_CREDIT_ONCE = """
    WITH new AS (INSERT INTO credit (key) VALUES (%s) ON CONFLICT DO NOTHING RETURNING key)
    UPDATE account SET cents = cents + %s WHERE id = %s AND EXISTS (SELECT FROM new)
"""


def url() -> str:
    return os.environ["THERE_URL"]


def travel() -> None:
    """On the way there and back again."""
    time.sleep(float(os.environ["DISTANCE_MS"]) / 1_000)


def credit_once(key: str, account: int, cents: int, within: float) -> None:
    with _pool().connection(timeout=within) as connection:
        travel()
        connection.execute(_CREDIT_ONCE, (key, cents, account))


@cache
def _pool() -> "ConnectionPool":
    pool = ConnectionPool(url(), min_size=1, max_size=16, kwargs={"autocommit": True}, open=True)
    atexit.register(pool.close)
    return pool
