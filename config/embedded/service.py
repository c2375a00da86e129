"""A service: what to start, when it is ready, how it stops. And the process it becomes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

LAUNCHER = Path(__file__).with_name("launch.py")
Identity = Literal["self", "namespace", "nobody"]


class ServiceFailed(Exception):
    """A service did not start, or ended before it was ready."""


def always_ready() -> bool:
    return True


@dataclass(frozen=True)
class Service:
    """One part of the running whole, as data.

    ``stop_signal`` asks it to end; after ``stop_seconds`` it is killed. ``death_signal`` is what the
    kernel sends when the supervisor itself is killed.
    """

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool] = always_ready
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10
    death_signal: signal.Signals = signal.SIGKILL
    identity: Identity = "self"


class Process:
    """A running service, in a session of its own: Ctrl-C reaches the supervisor only.

    Start it from the main thread: the kernel's death signal follows the thread that forked.
    """

    def __init__(self, service: Service, output: int | IO[bytes]) -> None:
        self.service = service
        self.popen = subprocess.Popen(  # noqa: S603
            launcher_command(service.command, service.identity, service.death_signal),
            env={**os.environ, **service.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def has_ended(self) -> bool:
        return self.popen.poll() is not None

    def wait_until_ready(self, seconds: float) -> None:
        """Raise `ServiceFailed` if the process ends, or is not ready after ``seconds``."""
        give_up_at = time.monotonic() + seconds
        while not self.service.is_ready():
            if self.has_ended():
                raise ServiceFailed(f"{self.service.name} ended with status {self.popen.returncode} while starting")
            if time.monotonic() > give_up_at:
                raise ServiceFailed(f"{self.service.name} was not ready after {seconds:g} seconds")
            time.sleep(0.02)

    def ask_to_stop(self) -> None:
        if not self.has_ended():
            self.popen.send_signal(self.service.stop_signal)

    def stop(self) -> None:
        """End the process and what it started. Does nothing the second time."""
        self.ask_to_stop()
        try:
            self.popen.wait(self.service.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self.kill_group()

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def kill_group(self) -> None:
        """Kill what is left of the session after its leader ended (gunicorn's workers, say)."""
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
            return


def launcher_command(
    command: tuple[str, ...], identity: Identity, death_signal: signal.Signals = signal.SIGKILL
) -> tuple[str, ...]:
    """``command`` as another identity, ending when this process does."""
    launcher = (sys.executable, "-I", "-S", str(LAUNCHER))
    return (*launcher, str(os.getpid()), str(int(death_signal)), identity, *command)
