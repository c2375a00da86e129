"""Flows: what events are expected after each other, so that somebody has the overview that no service has.

A flow orders nothing. Its saga begins with the flow and waits for its end; every event moves the time
on after which a quiet flow asks for a person's attention.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sagas import services as sagas
from sagas.choreography.events import Event
from sagas.definition import Saga
from sagas.steps import StepFunction


@dataclass(frozen=True, slots=True)
class Station:
    """An event that is expected, the one that says no instead, and the one that undoes it."""

    event: str
    refused_by: str = ""
    undone_by: str = ""


class Stand(StrEnum):
    CAME = "CAME"
    REFUSED = "REFUSED"
    UNDONE = "UNDONE"
    TO_COME = "TO_COME"
    NO_MORE = "NO_MORE"


@dataclass(frozen=True)
class Flow:
    """The stations in their order; ``saga`` waits in the step ``end`` until the flow is over.

    The key of the saga is the subject of the events. ``quiet``: how long nothing may happen.
    """

    saga: type[Saga[Any]]
    end: StepFunction
    stations: tuple[Station, ...]
    quiet: timedelta

    @property
    def name(self) -> str:
        return self.saga.name

    @property
    def types(self) -> frozenset[str]:
        return frozenset(name for s in self.stations for name in (s.event, s.refused_by, s.undone_by) if name)


flows: list[Flow] = []


def declare(flow: Flow) -> Flow:
    """Make a flow known: its events put off when it counts as quiet, and its page can be drawn."""
    if any(other.name == flow.name for other in flows):
        raise ValueError(f"The flow {flow.name} is declared twice.")
    flows.append(flow)
    return flow


def reschedule_end(event: Event) -> None:
    """The flow of this event is not quiet: its patience starts anew. In the commit that delivers the event."""
    for flow in flows:
        if event.type in flow.types:
            until = event.time + flow.quiet
            sagas.reschedule(flow.saga, event.subject, flow.end, until, why=event.type, actor="events")


def stands(flow: Flow, came: Iterable[str]) -> list[tuple[Station, Stand]]:
    """Where a flow stands, by the types of the events that came. Pure, and the same in whatever order they came."""
    types = set(came)
    goes_back = any(s.refused_by in types or s.undone_by in types for s in flow.stations)
    return [(station, _stand(station, types, goes_back=goes_back)) for station in flow.stations]


def _stand(station: Station, types: set[str], *, goes_back: bool) -> Stand:
    if station.undone_by in types:
        return Stand.UNDONE
    if station.refused_by in types:
        return Stand.REFUSED
    if station.event in types:
        return Stand.CAME
    return Stand.NO_MORE if goes_back else Stand.TO_COME
