"""What the contenders that are loops have in common: two processes that do the orders they are given."""

from benchmarks.crew import Crew
from benchmarks.work import Batch


class Loop:
    name: str
    module: str
    processes = 2

    def prepare(self) -> None:
        self.crew = Crew(self.module, self.processes)

    def pids(self) -> list[int]:
        return self.crew.pids

    def run(self, batch: Batch) -> list[float]:
        return self.crew.run(batch)

    def clean(self) -> None:
        self.crew.stop()
