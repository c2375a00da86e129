"""`python -m benchmarks.backlog`: sagas that were started while no worker ran, and how two workers drain them.

A small backlog first, then a big one: the rates should be alike, and neither hints nor memory grow with it.
"""

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from benchmarks import database, servers, shipped
from benchmarks.crew import Crew
from benchmarks.work import Batch

WORKERS = STARTERS = 2
LOOK_S = 0.5
_OPEN = "SELECT count(*) FROM sagas_sagainstance WHERE ended_at IS NULL"
_SUSPENDED = "SELECT count(*) FROM sagas_sagainstance WHERE status = 'SUSPENDED'"


@dataclass
class Figures:
    """What was seen while a backlog was drained; memory in MB, of all workers together."""

    count: int
    rate: float = 0
    suspended: int = 0
    hints: list[int] = field(default_factory=list)
    redis_mb: list[float] = field(default_factory=list)
    workers_mb: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.count:,} sagas: {self.rate:.0f} a second, {self.suspended} suspended, at most {max(self.hints)} "
            f"hints in Redis, which took {_range(self.redis_mb)} MB, the workers {_range(self.workers_mb)} MB"
        )


def drain(count: int) -> Figures:
    """Start the sagas, then the workers; the clock runs from when the first saga has ended."""
    database.empty()
    starters = Crew("benchmarks.contenders.ours", STARTERS)
    starters.run(Batch(0, count))
    starters.stop()
    figures = Figures(count)
    redis_server = redis.Redis.from_url(os.environ["REDIS_URL"])
    with _workers() as pids, database.connect() as connection:

        def ask(query: str) -> int:
            row = connection.execute(query.encode()).fetchone()
            assert row is not None
            return int(str(row[0]))

        while (at_first := ask(_OPEN)) == count:
            time.sleep(0.02)
        began = time.monotonic()
        while ask(_OPEN):
            figures.hints.append(int(str(redis_server.llen("rq:queue:sagas"))))
            figures.redis_mb.append(float(str(redis_server.info("memory")["used_memory"])) / 1e6)
            figures.workers_mb.append(sum(map(_memory_mb, pids)))
            time.sleep(LOOK_S)
        figures.rate = at_first / (time.monotonic() - began)
        figures.suspended = ask(_SUSPENDED)
    database.check(Batch(0, count))
    return figures


@contextmanager
def _workers() -> Iterator[list[int]]:
    # A sweeper as well, as in the shop: no hint of the start has to be there any more.
    processes = shipped.begin(*["saga_worker"] * WORKERS, "saga_sweeper")
    try:
        yield [process.pid for process in processes[:WORKERS]]
    finally:
        shipped.end(processes)


def _memory_mb(pid: int) -> float:
    """What the process has in memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _range(values: list[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sagas", type=int, default=50_000)
    parser.add_argument("--compared-with", type=int, default=2_000)
    asked = parser.parse_args()
    with servers.running():
        for count in (asked.compared_with, asked.sagas):
            print(drain(count), flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
