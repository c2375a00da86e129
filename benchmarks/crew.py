"""Processes that wait for a batch, do it and say so: one line in, one line out.

A contender's program calls `serve`; the harness holds a `Crew` of them. They start before the clock does,
so that no interpreter's start-up is measured.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

from benchmarks.work import Batch


class Crew:
    def __init__(self, module: str, size: int, python: str = sys.executable, env: Mapping[str, str] | None = None):
        self.processes = [
            subprocess.Popen(  # noqa: S603
                [python, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **(env or {})},
            )
            for _ in range(size)
        ]
        for process in self.processes:
            self._hear(process)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def run(self, batch: Batch) -> list[float]:
        """Do the batch, shared by all; returns when each order was started, in the order of their numbers."""
        for process, part in zip(self.processes, batch.split(len(self.processes)), strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(asdict(part)) + "\n")
            process.stdin.flush()
        return [started for process in self.processes for started in json.loads(self._hear(process))]

    def stop(self) -> None:
        for process in self.processes:
            process.communicate()

    @staticmethod
    def _hear(process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{process.args!r} ended with status {process.wait()}")
        return line


def serve(do: Callable[[str, int, int, int, bool], float]) -> None:
    """Call ``do`` for each order of each batch that comes in, and answer with what it returned for each.

    That is the time just after the commit of the order's start.
    """
    print("[]", flush=True)  # noqa: T201 - the harness reads it
    for line in sys.stdin:
        batch = Batch(**json.loads(line))
        started = []
        time.sleep(batch.delay)
        for order in batch.orders():
            if batch.pause:
                time.sleep(batch.pause)
            started.append(do(*order))
        print(json.dumps(started), flush=True)  # noqa: T201
