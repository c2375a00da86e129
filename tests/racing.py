"""Run functions at the same moment, each with a database connection of its own."""

import threading
from collections.abc import Callable, Sequence
from time import sleep
from typing import Any

from django.db import connection, connections


def race(functions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Start all together; return for each what it returned or raised."""
    barrier = threading.Barrier(len(functions))
    results: list[Any] = [None] * len(functions)

    def run(index: int) -> None:
        try:
            connections["default"].ensure_connection()
            barrier.wait(timeout=20)
            results[index] = functions[index]()
        except Exception as error:
            results[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[index]) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return results


def until_somebody_waits() -> None:
    """For a lock that this transaction has."""
    waits_for_us = "SELECT EXISTS (SELECT FROM pg_locks WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
    with connection.cursor() as cursor:
        for _ in range(500):
            cursor.execute(waits_for_us)
            if cursor.fetchone() == (True,):
                return
            sleep(0.01)
    raise AssertionError("nobody waits")
