"""The rows of the outbox: stored in the caller's commit, claimed by who carries them, and read again.

Claims go by state, never by the last id seen: a commit may come later than one with a higher id.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from random import random
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuid_utils
from django.db import connection, transaction

from sagas import failpoints, prepared
from sagas.choreography.events import Delivery, Event, name_of_event
from sagas.choreography.models import MAX_SUBJECT, OutboxEvent
from sagas.codec import to_json
from sagas.jobs import hint
from sagas.redaction import message_of
from sagas.steps import Context, Retry

# Carrying is tried without end: an event stays where it is until it can be carried.
BACKOFF = Retry(cap=timedelta(seconds=30))

_STORE = """
    INSERT INTO sagas_outboxevent (event_id, type, source, subject, time, data, cause_id, correlation_id, due_at,
                                   attempts, error)
    VALUES (%(event_id)s, %(type)s, %(source)s, %(subject)s, coalesce(%(time)s, clock_timestamp()), %(data)s,
            %(cause)s, %(correlation)s, CASE WHEN %(is_ours)s THEN clock_timestamp() END, 0, '')
    ON CONFLICT (event_id) DO NOTHING
"""

# Of each subject the first only: what comes later waits until that has been carried.
_FIRST_OF_ITS_SUBJECT = """
    due_at <= statement_timestamp() AND NOT EXISTS (
        SELECT FROM sagas_outboxevent before
        WHERE before.subject = event.subject AND before.due_at IS NOT NULL AND before.id < event.id)
"""
_IS_DUE = f"SELECT EXISTS (SELECT FROM sagas_outboxevent event WHERE {_FIRST_OF_ITS_SUBJECT})"  # noqa: S608
_CLAIM = f"""
    SELECT id FROM sagas_outboxevent event WHERE {_FIRST_OF_ITS_SUBJECT}
    ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - made of constants


def publish(payload: object, *, subject: str = "", cause: Delivery | None = None) -> UUID:
    """Store an event in the caller's transaction: it is told if that commits, and only then. Returns its id.

    ``payload`` is a dataclass with `event`; ``subject`` is the key by which events keep their order, as an
    order's number, and that of the cause by default. Inside a handler give ``cause=ctx.data``.

    Raises `LookupError` for a payload without a name, `ValueError` without a subject.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            "Publish inside `transaction.atomic()`, with the change that the event tells of."
        )
    name, subject = name_of_event(payload), subject or (cause.subject if cause else "")
    if not 0 < len(subject) <= MAX_SUBJECT:
        raise ValueError(f"{name} needs a subject of 1 to {MAX_SUBJECT} characters: what it is about.")
    event_id = uuid_utils.uuid7()
    _store(
        event_id=event_id,
        type=name,
        source=f"/{name.partition('.')[0]}",
        subject=subject,
        time=None,
        data=json.dumps(to_json(payload)),
        cause=cause.event_id if cause else None,
        correlation=cause.correlation_id if cause else event_id,
        is_ours=True,
    )
    failpoints.commits_later("publish", name)
    transaction.on_commit(hint, robust=True)
    return event_id


def settle(event: Event) -> bool:
    """An event has come through: our own need not be carried any more, another service's is kept to be read again.

    In the commit that delivers it. Says whether it came for the first time.
    """
    if _store(
        event_id=event.id,
        type=event.type,
        source=event.source,
        subject=event.subject,
        time=event.time,
        data=json.dumps(to_json(event.data)),
        cause=event.causationid,
        correlation=event.correlationid,
        is_ours=False,
    ):
        return True
    ours = OutboxEvent.objects.filter(event_id=event.id, due_at__isnull=False)
    return ours.update(due_at=None, error="") == 1


def _store(**values: Any) -> bool:
    with prepared.cursor() as cursor:
        cursor.execute(_STORE, values)
        return bool(cursor.rowcount)


# --- read ---------------------------------------------------------------------------------------


def heard(ctx: Context[Delivery]) -> Event:
    """The event that a handler is called for."""
    return as_event(OutboxEvent.objects.get(event_id=ctx.data.event_id))


def heard_before(ctx: Context[Delivery], name: str) -> Event:
    """An earlier event of the same flow: what this handler's event goes back to. `LookupError` if it was not heard."""
    found = OutboxEvent.objects.filter(correlation_id=ctx.data.correlation_id, type=name).order_by("id").first()
    if found is None:
        raise LookupError(f"{name} of {ctx.data.subject} was not heard before {ctx.data.type}.")
    return as_event(found)


def latest(subject: str) -> Delivery | None:
    """What was told last about a subject: the cause for who acts because of it, but in no handler."""
    row = OutboxEvent.objects.filter(subject=subject).order_by("-id").first()
    return Delivery(row.event_id, row.type, row.subject, row.correlation_id) if row else None


def as_event(row: OutboxEvent) -> Event:
    return Event(
        id=row.event_id,
        source=row.source,
        type=row.type,
        subject=row.subject,
        time=row.time,
        data=row.data,
        correlationid=row.correlation_id,
        causationid=row.cause_id,
    )


# --- carried --------------------------------------------------------------------------------------


def is_any_due() -> bool:
    """Whether an event can be carried now. One look into an index of what is not carried yet."""
    with prepared.cursor() as cursor:
        cursor.execute(_IS_DUE)
        return bool(cursor.fetchone()[0])


def claim(most: int) -> list[OutboxEvent]:
    """Lock the events that are due and that nobody else carries, at most one of each subject."""
    with prepared.cursor() as cursor:
        cursor.execute(_CLAIM, [most])
        ids = [row[0] for row in cursor.fetchall()]
    return list(OutboxEvent.objects.filter(pk__in=ids).order_by("id")) if ids else []


def lend(rows: Sequence[OutboxEvent], lease: timedelta) -> None:
    """Somebody carries these outside of any transaction: nobody else tries before the lease is over."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_outboxevent SET due_at = clock_timestamp() + make_interval(secs => %s) WHERE id = ANY(%s)",
            [lease.total_seconds(), [row.pk for row in rows]],
        )


def postpone(row: OutboxEvent, error: Exception) -> None:
    """It could not be carried: again after a pause, which grows. Others of its subject wait behind it."""
    pause = BACKOFF.delay(row.attempts + 1, random())  # noqa: S311 - not a secret
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_outboxevent SET due_at = clock_timestamp() + make_interval(secs => %s),"
            " attempts = attempts + 1, error = %s WHERE id = %s AND due_at IS NOT NULL",
            [pause.total_seconds(), message_of(f"{type(error).__name__}: {error}"), row.pk],
        )
