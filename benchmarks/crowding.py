"""`python -m benchmarks.crowding`: what it costs that the engine has four processes at work where the loop has two.

The loop with two and with four, the engine with starters and workers at once, and with its workers stopped until all
is started, so that never more than two are at work.
"""

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import core, report, servers
from benchmarks.contenders.django_loop import DjangoLoop
from benchmarks.contenders.ours import Ours
from benchmarks.work import Batch


class WideLoop(DjangoLoop):
    name = "Django loop, four processes"
    processes = 4


class InTurns(Ours):
    """Works with the processes of another one."""

    name = "this engine, first started, then driven"

    def __init__(self, at_once: Ours) -> None:
        self.at_once = at_once

    def prepare(self) -> None:
        self.workers, self.starters = self.at_once.workers, self.at_once.starters

    def run(self, batch: Batch) -> list[float]:
        with self.workers_stopped():
            started = self.starters.run(batch)
        self.wait_for_ends(batch)
        return started

    def clean(self) -> None:
        """They are another one's."""

    @contextmanager
    def workers_stopped(self) -> Iterator[None]:
        for worker in self.workers:
            worker.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for worker in self.workers:
                worker.send_signal(signal.SIGCONT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1_200, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    engine = Ours()
    with servers.running() as these:
        figures = core.measure(
            these,
            [DjangoLoop(), WideLoop(), engine, InTurns(engine)],
            rounds=asked.rounds,
            count=asked.orders,
            percent=0,
            slow=0,
        )
    print(report.table(figures))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
