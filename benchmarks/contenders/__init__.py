"""Who is measured: one module each, all with the same four functions."""

from typing import Protocol

from benchmarks.work import Batch


class Contender(Protocol):
    name: str

    def prepare(self) -> None:
        """Start what does the work, and return when it waits for orders."""

    def pids(self) -> list[int]:
        """Its processes; those that they start are counted with them."""

    def run(self, batch: Batch) -> list[float]:
        """Do the orders; return when the last has ended, with the time of each one's start, if known."""

    def clean(self) -> None:
        """End its processes."""
