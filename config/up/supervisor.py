"""Starts the parts, keeps them running, stops them in order.

One thread and one loop. Everything that waits, waits by calling `turn`, which passes on what the
parts print and notices a request to stop.
"""

import os
import selectors
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import IO

from config.embedded.service import Process, Service, ServiceFailed
from config.up.parts import Stage

TURN = 0.05  # seconds
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # before a part that ended is started again
STABLE_AFTER = 5.0  # a part that ran this long has not failed at starting
START_ATTEMPTS = 3
START_SECONDS = 40.0


class StopRequested(Exception):
    """Ctrl-C, or SIGTERM, or the terminal is gone."""


@dataclass
class Part:
    """A service and what the supervisor knows about it."""

    service: Service
    process: Process | None = None
    started_at: float = 0.0
    quick_ends: int = 0
    start_at: float | None = None
    is_announced: bool = False

    @property
    def name(self) -> str:
        return self.service.name

    def pause(self) -> float:
        """How long to wait before the next start: doubled after every quick end."""
        return float(min(SHORTEST_PAUSE * 2**self.quick_ends, LONGEST_PAUSE))


class Supervisor:
    def __init__(self, say: Callable[[str, str], None]) -> None:
        self.say = say  # (part, line)
        self.stages: list[list[Part]] = []
        self.selector = selectors.DefaultSelector()
        self.unfinished: dict[int, bytes] = {}
        self.stop_requested = False

    def request_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.stop_requested = True

    # Starting

    def start_stages(self, stages: list[Stage]) -> None:
        """Start each stage and wait until it is ready. Raise `ServiceFailed` if it does not get there."""
        for stage in stages:
            self.wait_for_all(self.launch_stage(stage))

    def launch_stage(self, stage: Stage) -> list[Part]:
        """Start each part and wait for none. They stop before those that were started earlier."""
        parts = [Part(service) for service in stage]
        self.stages.append(parts)
        for part in parts:
            self.launch(part)
        return parts

    def wait_for_all(self, parts: list[Part]) -> None:
        for part in parts:
            self.wait_until_ready(part)

    def launch(self, part: Part) -> Process:
        process = part.process = Process(part.service, subprocess.PIPE)
        part.started_at, part.start_at, part.is_announced = time.monotonic(), None, False
        self.selector.register(output_of(process), selectors.EVENT_READ, process)
        return process

    def wait_until_ready(self, part: Part) -> None:
        """Try a few times: a part may still find the last run's socket, port or lock."""
        give_up_at = time.monotonic() + START_SECONDS
        while not self.announce_if_ready(part):
            self.turn()
            self.start_again_if_ended(part)
            if part.quick_ends >= START_ATTEMPTS:
                raise ServiceFailed(
                    f"{part.name} ended {part.quick_ends} times while starting: what it printed says why."
                )
            if time.monotonic() > give_up_at:
                raise ServiceFailed(f"{part.name} was not ready after {START_SECONDS:g} seconds.")

    def announce_if_ready(self, part: Part) -> bool:
        if part.process is None or part.process.has_ended() or not part.service.is_ready():
            return False
        part.is_announced = True
        took = time.monotonic() - part.started_at
        self.say(part.name, f"ready after {took:.1f} s (process {part.process.popen.pid})")
        return True

    def run_to_end(self, service: Service) -> None:
        """Run something that ends by itself. Raise `ServiceFailed` if it fails."""
        part = Part(service)
        process = self.launch(part)
        try:
            while not process.has_ended():
                self.turn()
        finally:
            process.stop()
            self.drain(process)
        if process.popen.returncode != 0:
            raise ServiceFailed(f"{service.name} failed with status {process.popen.returncode}.")
        self.say(service.name, f"done after {time.monotonic() - part.started_at:.1f} s")

    # Watching

    def watch(self, every_turn: Callable[[], None]) -> None:
        """Keep every part running until somebody asks to stop (`StopRequested`)."""
        while True:
            self.turn()
            every_turn()
            for part in self.parts():
                self.start_again_if_ended(part)
                if part.process is not None and not part.is_announced:
                    self.announce_if_ready(part)

    def start_again_if_ended(self, part: Part) -> None:
        if part.process is not None and part.process.has_ended():
            self.bury(part, part.process)
        if part.start_at is not None and time.monotonic() >= part.start_at:
            self.launch(part)

    def bury(self, part: Part, process: Process) -> None:
        """Note that ``part`` ended by itself and when to start it again."""
        process.kill_group()
        self.drain(process)
        if time.monotonic() - part.started_at > STABLE_AFTER:
            part.quick_ends = 0
        pause = part.pause()
        part.quick_ends += 1
        part.process, part.start_at = None, time.monotonic() + pause
        self.say(part.name, f"ended ({describe(process.popen.returncode)}); starting again in {pause:g} s")

    # Stopping

    def stop_all(self) -> None:
        """Stop the last stage first. What does not end in its time is killed."""
        while self.stages:
            self.stop_parts(self.stages.pop())
        self.selector.close()

    def stop_parts(self, parts: list[Part]) -> None:
        running = [(part, part.process) for part in parts if part.process is not None]
        for _, process in running:
            process.ask_to_stop()
        for part, process in running:
            give_up_at = time.monotonic() + process.service.stop_seconds
            while not process.has_ended() and time.monotonic() < give_up_at:
                self.forward_output(TURN)
            if not process.has_ended():
                self.say(part.name, "did not stop in time and is killed")
                process.kill()
            process.kill_group()
            self.drain(process)
            self.say(part.name, "stopped")
        for part in parts:
            part.process, part.start_at = None, None

    # By name, for demonstrations

    def parts(self) -> list[Part]:
        return [part for stage in self.stages for part in stage]

    def stop_part(self, part: Part) -> None:
        """Stop one part and leave it stopped. The others stay, which is the point."""
        self.stop_parts([part])

    def start_part(self, part: Part) -> None:
        """Start one part that was stopped. A running one is left alone.

        Raise `ServiceFailed` if it does not get ready, as web without PostgreSQL; it is stopped again then.
        """
        if part.process is None:
            part.quick_ends = 0
            self.launch(part)
            try:
                self.wait_until_ready(part)
            except ServiceFailed:
                self.stop_part(part)
                raise

    # Output

    def turn(self) -> None:
        self.forward_output(TURN)
        if self.stop_requested:
            raise StopRequested

    def forward_output(self, seconds: float) -> None:
        if not self.selector.get_map():
            time.sleep(seconds)
        for key, _ in self.selector.select(seconds):
            self.read_once(key.data)

    def read_once(self, process: Process) -> bool:
        """Pass on the whole lines that ``process`` printed. False when there is no more to come."""
        stream = output_of(process)
        if stream.closed:
            return False
        chunk = os.read(stream.fileno(), 65536)
        *lines, rest = (self.unfinished.pop(process.popen.pid, b"") + chunk).split(b"\n")
        if chunk and rest:
            self.unfinished[process.popen.pid] = rest
        elif rest:
            lines.append(rest)
        for line in lines:
            self.say(process.service.name, line.decode(errors="replace").rstrip())
        if not chunk:
            self.selector.unregister(stream)
            stream.close()
        return bool(chunk)

    def drain(self, process: Process) -> None:
        """Read the last words of a process that ended, without waiting for heirs of its pipe."""
        stream = output_of(process)
        if stream.closed:
            return
        os.set_blocking(stream.fileno(), False)
        try:
            while self.read_once(process):
                pass
        except BlockingIOError:
            self.selector.unregister(stream)
            stream.close()


def describe(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"status {status}"


def output_of(process: Process) -> IO[bytes]:
    assert process.popen.stdout is not None, "the supervisor starts its parts with a pipe"
    return process.popen.stdout
