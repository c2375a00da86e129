"""`python -m benchmarks.crowding`: what it costs that the engine has four processes at work where the loop has two.

The loop with two and with four, the engine with starters and workers at once, and with its workers stopped until all
is started, so that never more than two are at work. All take turns in each round.
"""

import argparse
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks import database, processor, servers
from benchmarks.contenders import Contender
from benchmarks.contenders.django_loop import DjangoLoop
from benchmarks.contenders.ours import Ours
from benchmarks.work import Batch


class WideLoop(DjangoLoop):
    name = "Django loop, four processes"
    processes = 4


class OneAfterTheOther(Ours):
    """Works with the processes of another one."""

    name = "this engine, first started, then driven"

    def __init__(self, at_once: Ours) -> None:
        self.workers, self.starters = at_once.workers, at_once.starters

    def run(self, batch: Batch) -> list[float]:
        with self.workers_stopped():
            started = self.starters.run(batch)
        self.wait_for_ends(batch)
        return started

    @contextmanager
    def workers_stopped(self) -> Iterator[None]:
        for worker in self.workers:
            worker.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for worker in self.workers:
                worker.send_signal(signal.SIGCONT)


@dataclass
class Seen:
    """One entry a round; processor time in milliseconds an order."""

    rate: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    postgres: list[float] = field(default_factory=list)


def turn(postgres_pid: int, contender: Contender, batch: Batch) -> tuple[float, float, float]:
    database.empty()
    own, postgres = processor.seconds(contender.pids()), processor.seconds([postgres_pid])
    began = time.monotonic()
    contender.run(batch)
    seconds = time.monotonic() - began
    own, postgres = processor.seconds(contender.pids()) - own, processor.seconds([postgres_pid]) - postgres
    return database.check(batch) / seconds, own / batch.count * 1_000, postgres / batch.count * 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_200, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with servers.running() as these:
        database.empty()
        loop, wide, engine = DjangoLoop(), WideLoop(), Ours()
        shipped: list[Contender] = [loop, wide, engine]
        prepared: list[Contender] = []
        try:
            for contender in shipped:
                prepared.append(contender)
                contender.prepare()
            turns = [*shipped, OneAfterTheOther(engine)]
            seen = {contender.name: Seen() for contender in turns}
            for nth in range(asked.rounds + 1):
                for contender in turns:
                    figures = turn(these.postgres_pid, contender, Batch(0, asked.orders))
                    if nth:  # the first round warms up
                        into = seen[contender.name]
                        for values, value in zip((into.rate, into.own, into.postgres), figures, strict=True):
                            values.append(value)
        finally:
            for contender in prepared:
                contender.clean()
    print("| | orders/s | ratio to Django loop | CPU ms an order: own | PostgreSQL |\n|---|---:|---:|---:|---:|")  # noqa: T201
    for name, of in seen.items():
        ratios = [own / base for own, base in zip(of.rate, seen[loop.name].rate, strict=True)]
        ratio = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {name} | {median(of.rate):.0f} | {ratio} | {median(of.own):.1f} | {median(of.postgres):.1f} |")  # noqa: T201


if __name__ == "__main__":
    main()
