"""The page of one flow: its stations as a drawing, and every event with its cause and its handlers."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.safestring import SafeString

from sagas.admin.words import badge, moment, pretty_json
from sagas.choreography.flows import Stand, Station
from sagas.choreography.selectors import Told, Trace, trace, where_it_stands
from sagas.models import SagaInstance
from sagas.redaction import redact
from sagas.selectors import waiting_words

# Pixels of the drawing; its template knows the heights.
BOX, GAP = 150, 26

_MARKS = {
    Stand.CAME: ("good", "✓", "came"),
    Stand.REFUSED: ("bad", "✕", "refused"),
    Stand.UNDONE: ("undone", "↩", "undone"),
    Stand.TO_COME: ("quiet", "○", "to come"),
    Stand.NO_MORE: ("none", "–", "will not come"),
}


@dataclass(frozen=True, slots=True)
class Box:
    """A station in the drawing: where it is drawn, and what it says."""

    x: int
    service: str
    what: str
    tone: str
    mark: str
    words: str
    back: str
    is_last: bool

    @property
    def middle(self) -> int:
        return self.x + BOX // 2

    @property
    def right(self) -> int:
        return self.x + BOX


@dataclass(frozen=True, slots=True)
class HandlerRow:
    saga: SagaInstance
    status: SafeString
    why: str


@dataclass(frozen=True, slots=True)
class EventRow:
    told: Told
    at: SafeString | str
    data: str
    handlers: list[HandlerRow]
    indent: int


@dataclass(frozen=True, slots=True)
class FlowPage:
    trace: Trace
    status: SafeString | str
    stands: str
    attention: str
    boxes: list[Box]
    width: int
    rows: list[EventRow]

    @property
    def live(self) -> bool:
        return self.trace.saga is not None and self.trace.saga.ended_at is None


def flow_url(subject: str) -> str:
    return f"{reverse('admin:sagas_outboxevent_flow')}?{urlencode({'subject': subject})}"


def page_of_flow(subject: str) -> FlowPage:
    """Everything about one subject, in a fixed number of queries."""
    found = trace(subject)
    last = len(found.stations) - 1
    boxes = [_box(place, place == last, *station) for place, station in enumerate(found.stations)]
    return FlowPage(
        trace=found,
        status=badge(found.saga.status) if found.saga else "",
        stands=redact(where_it_stands(found)),
        attention=redact(found.saga.attention) if found.saga else "",
        boxes=boxes,
        width=len(boxes) * (BOX + GAP),
        rows=[_row(told) for told in found.events],
    )


def _box(place: int, is_last: bool, station: Station, stand: Stand) -> Box:
    service, _, what = station.event.partition(".")
    tone, mark, words = _MARKS[stand]
    back = {Stand.REFUSED: station.refused_by, Stand.UNDONE: station.undone_by}.get(stand, "")
    return Box(
        x=place * (BOX + GAP),
        service=service,
        what=what.replace("_", " "),
        tone=tone,
        mark=mark,
        words=words,
        back=back.partition(".")[2].replace("_", " "),
        is_last=is_last,
    )


def _row(told: Told) -> EventRow:
    return EventRow(
        told=told,
        at=moment(told.row.time),
        data=pretty_json(told.row.data),
        handlers=[HandlerRow(saga, badge(saga.status), redact(waiting_words(saga))) for saga in told.deliveries],
        indent=min(told.depth, 8),
    )
