"""What is said besides the words: while a step function runs, log lines and spans of its thread name saga and step."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from structlog.typing import EventDict, WrappedLogger

from sagas import tracing
from sagas.states import Side
from sagas.steps import Context

_at_work: ContextVar[tuple[Context[Any], Side] | None] = ContextVar("sagas_at_work", default=None)


@contextmanager
def about(ctx: Context[Any], side: Side) -> Iterator[None]:
    """Name saga, step and attempt in what is logged inside, whatever logger it comes from, and in a span."""
    before = _at_work.set((ctx, side))
    try:
        with tracing.span(f"{ctx.definition} {ctx.step} {side}", ctx.trace, lambda: _names(ctx, side)):
            yield
    finally:
        _at_work.reset(before)


def add_names(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A structlog processor: the names of what is at work here, for a log line."""
    at_work = _at_work.get()
    return {**_names(*at_work), **event} if at_work else event


def _names(ctx: Context[Any], side: Side) -> dict[str, str | int]:
    return {
        "saga": ctx.saga_id,
        "definition": ctx.definition,
        "key": ctx.key,
        "step": ctx.step,
        "side": str(side),
        "attempt": ctx.attempt,
    }
