"""Traces, for whoever has a tracer: a saga remembers the trace it was started in, and its steps join it.

The engine knows no tracing library; `use` gives it one. Without it nothing is traced and nothing costs.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Tracer(Protocol):
    def traceparent(self) -> str:
        """What runs now, as the header of the W3C's Trace Context; empty outside of any trace."""

    def span(self, name: str, parent: str, attributes: Mapping[str, str | int]) -> AbstractContextManager[object]:
        """A span below ``parent`` while the block runs, which is marked when that raises."""


_tracer: Tracer | None = None


def use(tracer: Tracer | None) -> None:
    """Trace with this one from now on; None stops it."""
    global _tracer  # noqa: PLW0603 - one a process, as the logging it goes with
    _tracer = tracer


def traceparent() -> str:
    return _tracer.traceparent() if _tracer else ""


def span(name: str, parent: str, attributes: Callable[[], Mapping[str, str | int]]) -> AbstractContextManager[object]:
    """A span below ``parent``; its attributes are asked for only when something is traced."""
    return _tracer.span(name, parent, attributes()) if _tracer else nullcontext()
