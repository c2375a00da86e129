"""Events through a Redis Stream, so that other services can publish and subscribe.

A group of consumers is one service: each of its processes may read, and an entry stays pending until it is
acknowledged, after the commit that puts it into the inboxes.
"""

import json
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import redis

from sagas import failpoints
from sagas.attempts import WORKER
from sagas.choreography import outbox
from sagas.choreography.broker import TOGETHER, deliver, own_commit
from sagas.choreography.events import Event
from sagas.choreography.models import MAX_SUBJECT, OutboxEvent
from sagas.codec import from_json, to_json
from sagas.redaction import words_of
from sagas.turns import WEATHER

logger = logging.getLogger(__name__)

# An event counts as carried when it has come back to us through the stream. If it does not within this time, it is
# sent again: Redis may have lost it.
LEASE = timedelta(seconds=10)
PATIENCE_S = 1.0
# What subscribers have not read by then, they read no more; about so many entries are kept.
KEPT = 1_000_000
MAX_BYTES = 256 * 1024

Entry = tuple[bytes, dict[bytes, bytes]]


class StreamBroker:
    """One stream for all events: Redis keeps its order, the outbox that of each subject."""

    def __init__(self, url: str, stream: str, group: str) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_connect_timeout=PATIENCE_S, socket_timeout=PATIENCE_S, retry=None
        )
        self._stream, self._group = stream, group

    # --- to others ------------------------------------------------------------------------------

    def send(self) -> bool:
        """No transaction is open while Redis is asked; what is not known to have arrived is sent again."""
        if not outbox.is_any_due():
            return False
        with own_commit():
            failpoints.enter("lend")
            rows = outbox.claim(TOGETHER)
            outbox.lend(rows, LEASE)
        told = []
        for row in rows:
            try:
                told.append(_written(row))
            except ValueError as error:
                # One bad event stops no other, but those that come after it.
                logger.exception("the event %s cannot be sent", row.event_id)
                outbox.postpone(row, error)
        if not told:
            return False
        try:
            with failpoints.outside("stream", "add"):
                self._add(told)
        except redis.RedisError as error:
            logger.warning("events cannot be sent, they are kept: %s", error)
            for row in rows:
                outbox.postpone(row, error)
            return False
        return True

    def _add(self, told: Sequence[str]) -> None:
        with self._redis.pipeline(transaction=True) as pipeline:
            for text in told:
                pipeline.xadd(self._stream, {"event": text}, maxlen=KEPT, approximate=True)
            pipeline.execute()

    # --- from others ----------------------------------------------------------------------------

    def receive(self) -> bool:
        """Deliver what is new in the stream, and what somebody took and never acknowledged."""
        try:
            entries = self._pending()
            for entry_id, fields in entries:
                self._deliver(entry_id, fields)
                with failpoints.outside("stream", "ack"):
                    self._redis.xack(self._stream, self._group, entry_id)
        except redis.RedisError as error:
            logger.warning("events cannot be received, they are kept: %s", error)
            return False
        return bool(entries)

    def _pending(self) -> list[Entry]:
        """Take what is new, then claim *all* that is pending, in the order of the stream.

        What another process has taken and not yet delivered is delivered here as well: otherwise a later
        event of the same subject could overtake it. The inbox makes it once each.
        """
        try:
            self._redis.xreadgroup(self._group, WORKER, {self._stream: ">"}, count=TOGETHER)
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            # Nobody has read this stream yet, or Redis was emptied: from its beginning.
            self._redis.xgroup_create(self._stream, self._group, id="0", mkstream=True)
            self._redis.xreadgroup(self._group, WORKER, {self._stream: ">"}, count=TOGETHER)
        answer: Any = self._redis.xautoclaim(self._stream, self._group, WORKER, min_idle_time=0, count=4 * TOGETHER)
        return sorted((entry for entry in answer[1] if entry[1]), key=lambda entry: _position(entry[0]))

    def _deliver(self, entry_id: bytes, fields: dict[bytes, bytes]) -> None:
        try:
            event = _read(fields)
            with own_commit():
                failpoints.enter("deliver")
                deliver(event)
        except WEATHER:
            raise
        except Exception as error:
            # No envelope, or what cannot be stored, as a NUL: kept aside for a person, so that it stops no other.
            logger.exception("entry %s of %s cannot be delivered", entry_id.decode(), self._stream)
            kept: Any = {**fields, b"why": words_of(error)}
            self._redis.xadd(f"{self._stream}:refused", kept, maxlen=10_000)


def _written(row: OutboxEvent) -> str:
    """The entry of an event; raises `ValueError` for one that whoever reads it would refuse."""
    text = json.dumps(to_json(outbox.as_event(row)))
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has {len(text)} bytes, more than {MAX_BYTES}")
    return text


def _read(fields: dict[bytes, bytes]) -> Event:
    """The event of an entry; raises `ValueError` or `msgspec.ValidationError` that names what is wrong."""
    text = fields.get(b"event", b"")
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has {len(text)} bytes, more than {MAX_BYTES}")
    told = json.loads(text)
    if not isinstance(told, dict) or told.get("specversion") != "1.0":
        raise ValueError("it has no specversion 1.0")
    told["id"] = str(_as_uuid(told))
    event: Event = from_json(Event, {"correlationid": told["id"], **told})
    if not (0 < len(event.subject) <= MAX_SUBJECT and len(event.type) <= 100 and len(event.source) <= 100):
        raise ValueError("its subject, type or source is empty or too long")
    if event.time.tzinfo is None:
        raise ValueError("its time has no zone")
    return event


def _as_uuid(told: dict[str, Any]) -> UUID:
    """An event is known by its source and id; of one that is no UUID, one is made."""
    source, event_id = str(told.get("source", "")), str(told.get("id", ""))
    if not event_id:
        raise ValueError("it has no id")
    try:
        return UUID(event_id)
    except ValueError:
        return uuid5(NAMESPACE_URL, f"{source}#{event_id}")


def _position(entry_id: bytes) -> tuple[int, int]:
    milliseconds, count = entry_id.split(b"-")
    return int(milliseconds), int(count)
