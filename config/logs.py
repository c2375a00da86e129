"""The two looks of a log line. Both carry what is bound to it, and the names of the saga and step it is about."""

import logging

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from sagas.logs import add_names

# Tracebacks as text: as data, structlog would add the values of local variables, which may be secrets.
_COMMON: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    add_names,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.format_exc_info,
]
_OWN = ("event", "level", "logger", "exception", "stack_info")


def line() -> logging.Formatter:
    """For people: ``WARNING shop: words [step=capture_payment]``, and a traceback below it."""
    return _formatter(_as_line)


def as_json() -> logging.Formatter:
    """For a collector: one JSON object a line, with its time."""
    return _formatter(
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    )


def _formatter(*last: Processor) -> logging.Formatter:
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_COMMON, processors=processors)


def _as_line(logger: WrappedLogger, name: str, event: EventDict) -> str:
    words = f"{event['level'].upper()} {event['logger']}: {event['event']}"
    if bound := " ".join(f"{key}={value}" for key, value in sorted(event.items()) if key not in _OWN):
        words += f" [{bound}]"
    return "\n".join(filter(None, [words, event.get("exception")]))
