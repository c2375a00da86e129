"""The port through which events are carried, and the broker that needs nothing but PostgreSQL.

Which one is used is a setting. Carrying is at least once, and in order for each subject; the inbox makes
it once each.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Protocol

from django.conf import settings
from django.db import InternalError, OperationalError, transaction

from sagas import failpoints
from sagas import services as sagas
from sagas.choreography import outbox
from sagas.choreography.events import Delivery, Event
from sagas.choreography.flows import reschedule_end
from sagas.choreography.subscriptions import subscribers
from sagas.locks import OnConflict
from sagas.turns import WEATHER, session_ended

logger = logging.getLogger(__name__)

TRANSPORTS = ("local", "redis-streams")
# How many events share a commit at most.
TOGETHER = 25
# Whoever waits behind an earlier event of its subject waits for as long as that takes.
IN_LINE = timedelta(days=3650)


class Broker(Protocol):
    def send(self) -> bool:
        """Carry what is due in the outbox. Says whether anything was."""
        ...

    def receive(self) -> bool:
        """Deliver what other services sent. Says whether anything came."""
        ...


@contextmanager
def own_commit() -> Iterator[None]:
    """A commit of who carries events. Who froze in it, and lost the session, meets the weather."""
    try:
        with failpoints.committing(transaction.atomic(durable=True)):
            yield
    except InternalError as error:
        if session_ended(error):
            raise OperationalError(str(error)) from error
        raise


def deliver(event: Event) -> None:
    """Put an event into the inbox of each who subscribed, in the caller's transaction; a second call changes nothing.

    Two unique inserts, never a look before a write: the event, and each handler's saga with the event for its key.
    """
    is_new = outbox.settle(event)
    delivery = Delivery(event.id, event.type, event.subject, event.correlationid)
    for subscription in subscribers(event):
        sagas.start(
            subscription.saga,
            delivery,
            key=str(event.id),
            on_conflict=OnConflict.WAIT,
            patience=IN_LINE,
            actor="events",
        )
    if is_new:
        reschedule_end(event)


class LocalBroker:
    """From the outbox into the inboxes in one commit: all services share this database."""

    def send(self) -> bool:
        if not outbox.is_any_due():
            return False
        with own_commit():
            failpoints.enter("deliver")
            rows = outbox.claim(TOGETHER)
            for row in rows:
                try:
                    with transaction.atomic():
                        deliver(outbox.as_event(row))
                except WEATHER:
                    raise
                except Exception as error:
                    # One bad event stops no other, but those that come after it.
                    logger.exception("the event %s cannot be delivered", row.event_id)
                    outbox.postpone(row, error)
        return bool(rows)

    def receive(self) -> bool:
        return False


@cache
def _broker(transport: str) -> Broker:
    if transport == TRANSPORTS[1]:
        # Here, not at the top: it delivers through this module.
        from sagas.choreography.streams import StreamBroker

        return StreamBroker(settings.REDIS_URL, settings.EVENTS_STREAM, settings.EVENTS_GROUP)
    return LocalBroker()


def carry() -> bool:
    """Send what is due, and receive what came. Says whether there was anything."""
    sent = _broker(settings.EVENTS_TRANSPORT).send()
    return receive() or sent


def receive() -> bool:
    """Deliver what other services sent. Says whether anything came."""
    return _broker(settings.EVENTS_TRANSPORT).receive()
