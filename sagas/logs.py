"""What a log line says besides its words: while a step function runs, those of its thread name saga and step."""

from contextlib import AbstractContextManager
from typing import Any

from structlog.contextvars import bound_contextvars

from sagas.states import Side
from sagas.steps import Context


def about(ctx: Context[Any], side: Side) -> AbstractContextManager[None]:
    """Bind saga, step and attempt to the lines that are logged inside, whatever logger they come from."""
    return bound_contextvars(
        saga=ctx.saga_id, definition=ctx.definition, key=ctx.key, step=ctx.step, side=str(side), attempt=ctx.attempt
    )
