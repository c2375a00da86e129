"""One flow as a whole, for the page that shows it. Nothing here locks or writes; every list is bounded."""

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from sagas.choreography.flows import Flow, Stand, Station, flows, stands
from sagas.choreography.models import OutboxEvent
from sagas.choreography.subscriptions import subscriptions
from sagas.models import SagaInstance
from sagas.selectors import waiting_words, with_steps
from sagas.states import SagaStatus

MOST_EVENTS = 200


@dataclass(frozen=True, slots=True)
class Told:
    """An event, how far down the chain of causes it stands, and what each handler does about it."""

    row: OutboxEvent
    depth: int
    deliveries: list[SagaInstance]


@dataclass(frozen=True, slots=True)
class Trace:
    """All that is known about a subject: its flow, if one is declared, and what happened, cause before effect."""

    subject: str
    flow: Flow | None
    saga: SagaInstance | None
    stations: list[tuple[Station, Stand]]
    events: list[Told]
    more: bool


def trace(subject: str) -> Trace:
    """The events of a subject, newest flow first cut off at `MOST_EVENTS`. Four queries, whatever happened."""
    found = list(OutboxEvent.objects.filter(subject=subject).order_by("-id")[: MOST_EVENTS + 1])
    rows = sorted(found[:MOST_EVENTS], key=lambda row: row.pk)
    deliveries = _deliveries([row.event_id for row in rows])
    by_name = {flow.name: flow for flow in flows}
    saga = with_steps().filter(definition__in=list(by_name), business_key=subject).order_by("-id").first()
    flow = by_name[saga.definition] if saga else None
    return Trace(
        subject=subject,
        flow=flow,
        saga=saga,
        stations=stands(flow, [row.type for row in rows]) if flow else [],
        events=[Told(row, depth, deliveries[str(row.event_id)]) for row, depth in _by_cause(rows)],
        more=len(found) > MOST_EVENTS,
    )


def _deliveries(event_ids: list[UUID]) -> dict[str, list[SagaInstance]]:
    found: dict[str, list[SagaInstance]] = defaultdict(list)
    handled = with_steps().filter(definition__in=list(subscriptions), business_key__in=[str(e) for e in event_ids])
    for saga in handled.order_by("id"):
        found[saga.business_key].append(saga)
    return found


def _by_cause(rows: list[OutboxEvent]) -> list[tuple[OutboxEvent, int]]:
    """Each event behind its cause and deeper than it; what has no cause here comes first."""
    known = {row.event_id for row in rows}
    effects: dict[UUID | None, list[OutboxEvent]] = defaultdict(list)
    for row in rows:
        effects[row.cause_id if row.cause_id in known else None].append(row)
    ordered, open_rows = [], [(row, 0) for row in reversed(effects[None])]
    while open_rows:
        row, depth = open_rows.pop()
        ordered.append((row, depth))
        open_rows += [(effect, depth + 1) for effect in reversed(effects[row.event_id])]
    return ordered


def where_it_stands(trace: Trace) -> str:
    """What keeps a flow where it is, in one sentence."""
    if trace.saga is not None and trace.saga.ended_at is not None:
        return f"The flow has ended. {waiting_words(trace.saga)}"
    at_work = [(told, saga) for told in trace.events for saga in told.deliveries if saga.ended_at is None]
    for told, saga in at_work:
        if saga.status == SagaStatus.SUSPENDED:
            return f"{saga.definition} could not handle {told.row.type}: retry it, or discard it. {waiting_words(saga)}"
    if at_work:
        told, saga = at_work[0]
        return f"{saga.definition} is at {told.row.type}. {waiting_words(saga)}"
    for told in trace.events:
        if told.row.due_at is not None:
            failed = f" {told.row.error}" if told.row.error else ""
            return f"{told.row.type} has not been carried yet.{failed}"
    if not trace.events:
        return "Nothing has been told about it."
    return f"Nobody is at work: the last that was told is {max(trace.events, key=lambda t: t.row.pk).row.type}."
