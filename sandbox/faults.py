"""What a sandbox service does wrong on purpose, and how often it did."""

import threading
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

MEANINGS = {
    "decline": "answer with a business no",
    "stall": "wait `seconds`, then act and answer",
    "answer_lost": "act, then close the connection without an answer",
    "error_after": "act, then answer 500",
    "error": "answer 500 without acting",
    "twice": "act twice, as if the network had doubled the request",
    "late": "close the connection now, act `seconds` later",
    "garbage": "act, then answer something that is not JSON",
    "down": "answer 503 with Retry-After, without acting",
    "refuse": "refuse connections for `seconds`",
}


@dataclass
class Fault:
    """One kind of trouble for the next ``times`` requests (-1: until reset) of ``operation`` (empty: of any).

    ``after`` requests of that operation pass unharmed first.
    """

    fault: str
    times: int = 1
    seconds: float = 5.0
    operation: str = ""
    code: str = ""
    after: int = 0


class FaultBook:
    """The faults that are set; `take` uses one up."""

    def __init__(self, operations: list[str], declinable: list[str]) -> None:
        self._operations, self._declinable = operations, declinable
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._fired: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self.latency_seconds = 0.0

    def set(self, wish: dict[str, Any]) -> str | None:
        """Do what a body of ``POST /_control`` says; returns what is wrong with it, if anything."""
        name = wish.get("fault", "")
        if name == "decline" and wish.get("operation", "") not in ("", *self._declinable):
            return f"declined can be: {', '.join(self._declinable)}"
        if name == "reset":
            self.reset()
            return None
        if "latency_ms" in wish:
            self.latency_seconds = max(0.0, float(wish["latency_ms"]) / 1000)
            if not name:
                return None
        if name not in MEANINGS:
            return f"unknown fault {name!r}; there are: {', '.join([*MEANINGS, 'reset'])}"
        if wish.get("operation", "") not in ("", *self._operations):
            return f"unknown operation {wish['operation']!r}; there are: {', '.join(self._operations)}"
        try:
            fault = Fault(
                name,
                int(wish.get("times", 1)),
                float(wish.get("seconds", 5)),
                str(wish.get("operation", "")),
                str(wish.get("code", "")),
                int(wish.get("after", 0)),
            )
        except (TypeError, ValueError):
            return "`times`, `seconds` and `after` are numbers"
        with self._lock:
            self._faults.append(fault)
        return None

    def reset(self) -> None:
        with self._lock:
            self._faults.clear()
            self._fired.clear()
            self._asked.clear()
        self.latency_seconds = 0.0

    def take(self, operation: str) -> Fault | None:
        """The first fault that is meant for this operation, counted down."""
        with self._lock:
            self._asked[operation] += 1
            for fault in self._faults:
                if fault.operation not in ("", operation):
                    continue
                if fault.fault == "decline" and operation not in self._declinable:
                    continue
                if fault.after > 0:
                    fault.after -= 1
                elif fault.times != 0:
                    fault.times -= fault.times > 0
                    if fault.times == 0:
                        self._faults.remove(fault)
                    self._fired[fault.fault] += 1
                    return fault
        return None

    def show(self) -> dict[str, Any]:
        with self._lock:
            return {
                "faults": [asdict(fault) for fault in self._faults],
                "fired": dict(self._fired),
                "asked": dict(self._asked),
                "latency_ms": round(self.latency_seconds * 1000),
                "operations": self._operations,
                "meanings": MEANINGS,
            }
