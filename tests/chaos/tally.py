"""What was done to the shop and what of it was seen to take effect, with a timeline."""

import sys
import threading
import time
from collections import Counter
from typing import Any

PROCESS_KINDS = (
    "worker killed",
    "worker paused",
    "worker frozen past its lease",
    "sweeper killed",
    "web killed",
    "Valkey emptied",
    "Valkey killed",
    "Valkey down",
    "PostgreSQL stopped at once",
    "PostgreSQL killed",
    "sessions terminated",
)
SERVICES = ("bank", "carrier")
# The sandbox's words for them: see sandbox/faults.py.
SERVICE_FAULTS = ("stall", "answer_lost", "error_after", "error", "twice", "late", "garbage", "down")
SERVICE_KINDS = tuple(
    f"{service} {fault}" for service in SERVICES for fault in (*SERVICE_FAULTS, "refusing", "stopped")
)
KINDS = PROCESS_KINDS + SERVICE_KINDS


class Tally:
    """Counts per kind: how often it was tried, and how often it was seen. A kind that was never seen fails a run."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.tried: Counter[str] = Counter()
        self.took_effect: Counter[str] = Counter()
        self.extra: Counter[str] = Counter()
        self.timeline: list[dict[str, Any]] = []
        self.started = time.monotonic()
        self.quiet = quiet
        self._lock = threading.Lock()

    def note(self, what: str) -> None:
        """One line of the timeline, printed as it happens."""
        at = time.monotonic() - self.started
        with self._lock:
            self.timeline.append({"at": round(at, 1), "what": what})
            if not self.quiet:
                sys.stdout.write(f"{at:7.1f}  {what}\n")
                sys.stdout.flush()

    def count(self, kind: str, *, seen: bool | int, detail: str = "") -> None:
        with self._lock:
            self.tried[kind] += 1
            self.took_effect[kind] += int(seen)
        self.note(f"{kind}{': ' + detail if detail else ''}{'' if seen else ' (no effect seen)'}")

    def add(self, kind: str, times: int) -> None:
        """Effects that are counted elsewhere, such as by the bank."""
        with self._lock:
            self.took_effect[kind] += times

    def missing(self) -> list[str]:
        return [kind for kind in KINDS if not self.took_effect[kind]]

    def to_json(self) -> dict[str, Any]:
        return {
            kind: {"tried": self.tried[kind], "took effect": self.took_effect[kind]}
            for kind in (*KINDS, *sorted(set(self.tried) - set(KINDS)))
        }
