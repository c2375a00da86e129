"""What the page of one saga shows, as values for its templates. Reads only."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.utils.safestring import SafeString
from django.utils.timezone import now

from sagas.admin.links import resource_url, subject_url
from sagas.admin.offers import Offer, offers_of
from sagas.admin.plan_graph import Graph, graph_of
from sagas.admin.plan_table import Place, places_of
from sagas.admin.selectors import ahead_in_line, in_line_for
from sagas.admin.timeline import Timeline, timeline_of
from sagas.admin.touched import Touched, touched_by
from sagas.admin.words import badge, moment, pretty_json, span
from sagas.models import Operation, SagaEvent, SagaInstance, SemanticLock, StepAttempt
from sagas.options import options
from sagas.redaction import redact
from sagas.selectors import LockHolder, waiting_words

MAX_ATTEMPTS = 100
MAX_EVENTS = 200
# What is shown before somebody asks for all of it.
FIRST_ATTEMPTS = 10
FIRST_EVENTS = 20


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try, with how long it took."""

    row: StepAttempt
    outcome: SafeString
    started: SafeString | str
    took: str


@dataclass(frozen=True, slots=True)
class EventRow:
    row: SagaEvent
    before: SafeString | str
    after: SafeString
    at: SafeString | str


@dataclass(frozen=True, slots=True)
class LockRow:
    """A lock that the saga holds, and the first of those who wait for it."""

    row: SemanticLock
    url: str
    since: SafeString | str
    in_line: list[SagaInstance]


@dataclass(frozen=True, slots=True)
class OperationRow:
    row: Operation
    before: SafeString
    after: SafeString
    at: SafeString | str
    detail: str


@dataclass(frozen=True, slots=True)
class SagaPage:
    """Everything the page shows. ``live``: it has not ended, so the page asks again, every ``seconds``.

    ``whole``: with all attempts and events that are ever shown; the newest will do at first.
    """

    saga: SagaInstance
    whole: bool
    status: SafeString
    why: str
    attention: str
    subject_url: str
    live: bool
    seconds: int
    started: SafeString | str
    ended: SafeString | str
    took: str
    deadline: SafeString | str
    deadline_words: str
    data: str
    locks: list[LockRow]
    waits_for: LockHolder | None
    touched: list[Touched]
    offers: list[Offer]
    places: list[Place]
    plan_is_known: bool
    graph: Graph
    timeline: Timeline
    attempts: list[AttemptRow]
    more_attempts: bool
    events: list[EventRow]
    more_events: bool
    operations: list[OperationRow]
    caused: list[SagaInstance]
    last_event: int


def page_of(saga: SagaInstance, user: AbstractBaseUser | AnonymousUser, *, whole: bool = False) -> SagaPage:
    """The page of a saga whose steps are loaded, for this person. A fixed number of queries."""
    attempts = list(saga.attempts.order_by("-started_at", "-id")[: MAX_ATTEMPTS + 1])
    events = list(saga.events.order_by("-id")[: MAX_EVENTS + 1])
    shown_attempts = attempts[: MAX_ATTEMPTS if whole else FIRST_ATTEMPTS]
    shown_events = events[: MAX_EVENTS if whole else FIRST_EVENTS]
    places, plan_is_known = places_of(saga)
    return SagaPage(
        saga=saga,
        whole=whole,
        status=badge(saga.status),
        why=redact(waiting_words(saga)),
        attention=redact(saga.attention),
        subject_url=subject_url(saga),
        live=saga.ended_at is None,
        seconds=2 if saga.wake_at else 10,
        started=moment(saga.created_at),
        ended=moment(saga.ended_at),
        took=span(saga.ended_at - saga.created_at) if saga.ended_at else "",
        deadline=moment(saga.deadline_at),
        deadline_words=_deadline_words(saga),
        data=pretty_json(saga.data),
        locks=[_lock_row(lock, waiters) for lock, waiters in in_line_for(saga)],
        waits_for=ahead_in_line(saga),
        touched=touched_by(saga, user),
        offers=offers_of(options(saga.pk, user)),
        places=places,
        plan_is_known=plan_is_known,
        graph=graph_of(places),
        timeline=timeline_of(saga, attempts[:MAX_ATTEMPTS]),
        attempts=[_attempt_row(attempt) for attempt in shown_attempts],
        more_attempts=len(attempts) > len(shown_attempts),
        events=event_rows(shown_events),
        more_events=len(events) > len(shown_events),
        operations=[_operation_row(done) for done in saga.operations.select_related("actor").order_by("-at")],
        caused=list(saga.caused.order_by("-id")[:20]),
        last_event=events[0].pk if events else 0,
    )


def event_rows(events: list[SagaEvent]) -> list[EventRow]:
    return [_event_row(event) for event in events]


def _deadline_words(saga: SagaInstance) -> str:
    if saga.deadline_at is None:
        return "none"
    if saga.ended_at is not None:
        return ""
    if saga.pivot_passed:
        return "the point of no return is passed: past the deadline it only raises attention"
    if saga.backward:
        return "it goes backward already"
    if saga.deadline_at <= now():
        return "passed: it turns back as soon as it moves"
    return "turns back unless it passes its point of no return by then"


def _lock_row(lock: SemanticLock, in_line: list[SagaInstance]) -> LockRow:
    return LockRow(lock, resource_url(lock.resource_type, lock.resource_id), moment(lock.taken_at), in_line)


def _attempt_row(attempt: StepAttempt) -> AttemptRow:
    if attempt.ended_at is None:
        took = f"{span(now() - attempt.started_at)} so far"
    else:
        took = span(attempt.ended_at - attempt.started_at)
    outcome = badge(attempt.outcome or "RUNNING", compensation=attempt.side == "compensation" and not attempt.outcome)
    return AttemptRow(attempt, outcome, moment(attempt.started_at), took)


def _event_row(event: SagaEvent) -> EventRow:
    back = event.what == "compensation"
    before = badge(event.before, compensation=back) if event.before else ""
    return EventRow(event, before, badge(event.after, compensation=back), moment(event.at))


def _operation_row(done: Operation) -> OperationRow:
    detail: dict[str, Any] = {key: value for key, value in done.detail.items() if value is not None}
    return OperationRow(
        done,
        badge(done.status_before),
        badge(done.status_after),
        moment(done.at),
        pretty_json(detail) if detail else "",
    )
