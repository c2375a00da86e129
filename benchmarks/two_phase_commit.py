"""`python -m benchmarks.two_phase_commit`: a transfer between two databases, as one transaction and as a saga.

How many a second, how long they wait for each other's rows, and what a coordinator that dies leaves behind.
"""

import argparse
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks import database, dead_coordinators, servers
from benchmarks.contenders import Contender
from benchmarks.contenders.transfer_saga import TransferSaga
from benchmarks.contenders.two_phase import TwoPhaseCommit
from benchmarks.core import prepared
from benchmarks.transfer_app import accounts
from benchmarks.work import Batch

LOOK_S = 0.02
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
HEAD = (
    "| accounts | distance | two-phase commit, a second | saga, a second | ratio | waits for rows: two-phase | saga |"
)


@dataclass
class Figures:
    """One entry a round: transfers a second, and milliseconds for which one of them waited for locks."""

    rate: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)


def tell(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - what it is for


@contextmanager
def lock_waits() -> Iterator[list[int]]:
    """How many sessions wait for a lock, looked at again and again."""
    seen: list[int] = []
    done = threading.Event()

    def look() -> None:
        with database.connect() as connection:
            while not done.wait(LOOK_S):
                seen.append(database.one(connection, _WAITING))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield seen
    finally:
        done.set()
        looker.join()


def turn(contender: Contender, batch: Batch) -> tuple[float, float]:
    """One round of one contender: its rate, and how long a transfer waited (by Little, waiting sessions / rate)."""
    accounts.empty()
    with lock_waits() as waiting:
        began = time.monotonic()
        contender.run(batch)
        seconds = time.monotonic() - began
    rate = accounts.check(batch) / seconds
    return rate, sum(waiting) / max(1, len(waiting)) / rate * 1_000


def compare(hot: int, distance_ms: int, rounds: int, count: int) -> str:
    """A row of the table: both contenders in turn, the first round as a warm-up."""
    os.environ.update(ACCOUNTS=str(hot), DISTANCE_MS=str(distance_ms))
    two_phase, saga = TwoPhaseCommit(), TransferSaga()
    seen = {two_phase.name: Figures(), saga.name: Figures()}
    accounts.empty()
    with prepared([two_phase, saga]):
        for nth in range(rounds + 1):
            for contender in ((two_phase, saga), (saga, two_phase))[nth % 2]:
                rate, waited = turn(contender, Batch(0, count))
                if nth:
                    seen[contender.name].rate.append(rate)
                    seen[contender.name].waited.append(waited)
    ours, theirs = seen[saga.name], seen[two_phase.name]
    ratios = [own / other for own, other in zip(ours.rate, theirs.rate, strict=True)]
    return (
        f"| {hot} | {distance_ms} ms | {median(theirs.rate):,.0f} | {median(ours.rate):,.0f} "
        f"| {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
        f"| {median(theirs.waited):.1f} ms | {median(ours.waited):.1f} ms |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transfers", type=int, default=1_000, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--accounts", type=int, nargs="+", default=[accounts.MOST, 1], help="how many are in use")
    parser.add_argument("--distance", type=int, nargs="+", default=[0, 10], help="ms to the second database and back")
    parser.add_argument("--deaths", nargs="+", default=[*dead_coordinators.DEATHS], choices=dead_coordinators.DEATHS)
    parser.add_argument("--nobody-acts-for", type=float, default=30.0, help="seconds after a death")
    asked = parser.parse_args()
    with servers.running():
        accounts.create_there()
        tell(f"{HEAD}\n|" + "---:|" * (HEAD.count("|") - 1))
        for distance_ms in asked.distance:
            for hot in asked.accounts:
                tell(compare(hot, distance_ms, asked.rounds, asked.transfers))
        tell(f"\n{dead_coordinators.HEAD}")
        for death in asked.deaths:
            tell(dead_coordinators.DEATHS[death](death, asked.nobody_acts_for))


if __name__ == "__main__":
    main()
