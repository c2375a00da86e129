"""Events as values: their envelope is CloudEvents 1.0, their payload a dataclass with the event's name on it.

The name and the JSON are the contract. A subscriber reads the payload with a dataclass of its own, which
names the members that it needs; others are ignored, so that a publisher may add some.
"""

import builtins
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sagas.codec import from_json

P = TypeVar("P")

names: dict[type, str] = {}


@dataclass(frozen=True, slots=True)
class Event:
    """The attributes of CloudEvents 1.0, with two extension attributes for the trace.

    ``causationid`` is the event that this one answers; ``correlationid`` the first of all.
    """

    id: UUID
    source: str
    type: str
    subject: str
    time: datetime
    data: Any
    correlationid: UUID
    causationid: UUID | None = None
    specversion: str = "1.0"
    datacontenttype: str = "application/json"

    def read(self, kind: "builtins.type[P]") -> P:
        """The payload as a dataclass of the reader's own; raises `msgspec.ValidationError` naming the member."""
        return from_json(kind, self.data)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a handler's saga remembers of its event; the payload stays in the outbox, in one place."""

    event_id: UUID
    type: str
    subject: str
    correlation_id: UUID


def event(name: str) -> Callable[[type[P]], type[P]]:
    """Name the event that a dataclass is the payload of: ``app.what_happened``."""
    app, _, what = name.partition(".")
    if not (app.isidentifier() and what.isidentifier()):
        raise ValueError(f"{name!r} cannot name an event; say who and what happened, as inventory.stock_reserved.")

    def register(payload: type[P]) -> type[P]:
        if not is_dataclass(payload):
            raise TypeError(f"{payload.__name__} has to be a dataclass: decorate it with @dataclass first.")
        names[payload] = name
        return payload

    return register


def name_of_event(payload: object) -> str:
    """The event's name; `LookupError` for a class without one."""
    try:
        return names[type(payload)]
    except KeyError:
        raise LookupError(f"{type(payload).__name__} is no event; decorate it with @event(...).") from None
