"""What is said besides the words: while a step function runs, log lines and spans of its thread name saga and step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from structlog.contextvars import bound_contextvars

from sagas import tracing
from sagas.states import Side
from sagas.steps import Context


@contextmanager
def about(ctx: Context[Any], side: Side) -> Iterator[None]:
    """Bind saga, step and attempt to what is logged inside, whatever logger it comes from, and to a span."""
    bound: dict[str, str | int] = {
        "saga": ctx.saga_id,
        "definition": ctx.definition,
        "key": ctx.key,
        "step": ctx.step,
        "side": str(side),
        "attempt": ctx.attempt,
    }
    with bound_contextvars(**bound), tracing.span(f"{ctx.definition} {ctx.step} {side}", ctx.trace, bound):
        yield
