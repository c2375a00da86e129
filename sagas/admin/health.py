"""Whether those who drive the sagas are there, whether anything is late, and what auditor and alerts say."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import redis
from django.conf import settings
from django.db.models import Max
from django.urls import reverse
from django.utils.timezone import now
from rq import Queue
from rq.utils import utcparse
from rq.worker_registration import get_keys

from sagas.admin.periodic_admin import outcome_of
from sagas.admin.words import span
from sagas.choreography.models import OutboxEvent
from sagas.jobs import QUEUE
from sagas.models import PeriodicJob, SagaInstance
from sagas.monitoring.models import Alert

# A worker that waits for a hint tells of itself every few seconds, a busy one after each drain.
SILENT_AFTER = timedelta(seconds=60)
# The most frequent periodic jobs run twice a minute.
SWEEPER_SILENT_AFTER = timedelta(minutes=2)
LATE = timedelta(seconds=30)
PATIENCE_S = 0.2
MOST_ALERTS = 100
AUDITS = {"sagas.audit.audit_lately": "Audit", "sagas.audit.audit_everything": "Daily audit"}


@dataclass(frozen=True, slots=True)
class Health:
    """One line: what it is about, whether all is well with it, and a sentence."""

    what: str
    well: bool
    words: str
    url: str = ""


_services: list[Callable[[], Iterable[Health]]] = []


def register_services(services: Callable[[], Iterable[Health]]) -> None:
    """Say how the services outside are; what is registered keeps to a time limit and raises nothing."""
    _services.append(services)


def health() -> list[Health]:
    """Each in one look that has an index, or a time limit."""
    services = [line for ask in _services for line in ask()]
    return [*_queue(), _sweeper(), _due(), _events(), _alerts(), *_audits(), *services]


def _queue() -> list[Health]:
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=PATIENCE_S, socket_timeout=PATIENCE_S, retry=None
        ) as connection:
            queue = Queue(QUEUE, connection=connection)
            hints, seen = queue.count, _heartbeats(connection, sorted(get_keys(queue)))
    except redis.RedisError:
        return [Health("Queue", False, "Redis is away: the sweeper drives the sagas, slower; who works is not known")]
    alive = [at for at in seen if now() - at < SILENT_AFTER]
    words = f"{len(alive)} at work" if alive else "none tells of itself"
    return [
        Health("Workers", bool(alive), words),
        Health("Queue", True, "1 hint waits" if hints == 1 else f"{hints} hints wait"),
    ]


def _heartbeats(connection: "redis.Redis", keys: list[str]) -> list[datetime]:
    """When each worker last told of itself; those that are gone have left nothing but their name."""
    with connection.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.hget(key, "last_heartbeat")
        said = pipeline.execute()
    times = []
    for value in filter(None, said):
        with suppress(ValueError):
            times.append(utcparse(value.decode()))
    return times


def _sweeper() -> Health:
    """Sweepers start the periodic jobs, so the last start of any is a sign of life."""
    last = PeriodicJob.objects.aggregate(last=Max("last_started_at"))["last"]
    if last is None:
        return Health("Sweeper", False, "none has run yet")
    return Health("Sweeper", now() - last < SWEEPER_SILENT_AFTER, f"seen {span(now() - last)} ago")


def _due() -> Health:
    """How long the first saga that is due has waited to be taken up."""
    first = (
        SagaInstance.objects.filter(wake_at__lte=now()).order_by("wake_at").values_list("wake_at", flat=True).first()
    )
    return _late("Due", first, "no saga is late", "the oldest has been due for {}")


def _events() -> Health:
    """The same for the events that have still to be carried to who subscribed."""
    first = OutboxEvent.objects.filter(due_at__lte=now()).order_by("due_at").values_list("due_at", flat=True).first()
    return _late("Events", first, "all are carried", "the oldest has waited for {} to be carried")


def _late(what: str, first: datetime | None, none: str, some: str) -> Health:
    if first is None:
        return Health(what, True, none)
    late = now() - first
    return Health(what, late < LATE, some.format(span(late)))


def _alerts() -> Health:
    count = Alert.objects.filter(resolved_at=None).order_by("-id")[: MOST_ALERTS + 1].count()
    words = f"more than {MOST_ALERTS} open" if count > MOST_ALERTS else f"{count} open"
    return Health("Alerts", not count, words, f"{reverse('admin:sagas_alert_changelist')}?state=open")


def _audits() -> list[Health]:
    """What the auditor said the last time it came back."""
    jobs = PeriodicJob.objects.in_bulk(list(AUDITS))
    return [_audit(what, jobs[name]) for name, what in AUDITS.items() if name in jobs]


def _audit(what: str, job: PeriodicJob) -> Health:
    found = job.last_result if isinstance(job.last_result, dict) else {}
    well = not job.last_error and not found.get("violations")
    words = f"{outcome_of(job) or 'has not come back yet'}, {span(now() - job.last_started_at)} ago"
    return Health(what, well, words, reverse("admin:sagas_periodicjob_change", args=[job.pk]))
