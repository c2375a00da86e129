"""Events through a real Redis Stream: other services publish and subscribe; nothing is lost with Redis."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection, transaction

from sagas import failpoints
from sagas.choreography import broker
from sagas.choreography.events import event
from sagas.choreography.models import OutboxEvent
from sagas.choreography.outbox import publish
from sagas.choreography.streams import StreamBroker
from sagas.driver import drain_due
from sagas.models import SagaInstance
from sagas.sweeper import sweep
from tests.racing import race
from tests.sagas.choreography.bakery import Note, Oven, effects, take_order
from tests.sagas.conftest import run

STREAM, GROUP = "test-events", "test-shop"
WHOLE = ["baked", "billed", "handed over"]


@pytest.fixture
def stream(settings: Any) -> Iterator[Any]:
    """An empty stream, and the setting that has events carried through it."""
    settings.EVENTS_TRANSPORT, settings.EVENTS_STREAM, settings.EVENTS_GROUP = "redis-streams", STREAM, GROUP
    broker._broker.cache_clear()
    server = redis.Redis.from_url(settings.REDIS_URL)
    server.delete(STREAM, f"{STREAM}:refused")
    yield server
    server.delete(STREAM, f"{STREAM}:refused")
    broker._broker.cache_clear()


def other_service(number: int, subject: str = "N-1", **changes: object) -> dict[str, str]:
    """A note as a service that is not ours writes it: an id of its own making, no extension attributes."""
    told = {
        "specversion": "1.0",
        "id": f"note-{number}",
        "source": "/elsewhere",
        "type": "shop.note",
        "subject": subject,
        "time": "2026-11-21T10:00:00Z",
        "data": {"number": number, "colour": "a member that nobody here knows"},
    }
    return {"event": json.dumps({**told, **changes})}


def make_due() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_outboxevent SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")


def test_a_flow_goes_through_the_stream_and_others_can_read_it(stream: Any) -> None:
    take_order("B-1", 2)
    run()

    assert effects("B-1") == WHOLE
    told = [json.loads(fields[b"event"]) for _, fields in stream.xrange(STREAM)]
    assert [event["type"] for event in told] == ["shop.bread_ordered", "bakery.bread_baked", "bill.bill_sent"]
    assert {event["specversion"] for event in told} == {"1.0"}
    assert stream.xpending(STREAM, GROUP)["pending"] == 0
    assert not OutboxEvent.objects.filter(due_at__isnull=False).exists()


def test_an_event_of_another_service_is_handled_once_however_often_it_is_sent(stream: Any, oven: Oven) -> None:
    for _ in range(3):
        stream.xadd(STREAM, other_service(1))

    assert sweep()  # nobody hints for other services
    run()

    assert (effects("N-1"), oven.calls) == (["note 1"], ["read_note"])
    assert OutboxEvent.objects.get().source == "/elsewhere"


@event("shop.letter")
@dataclass(frozen=True)
class Letter:
    text: Any


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else "deep inside"


@pytest.mark.parametrize(
    ("letter", "why"),
    [
        (Letter("x" * 300_000), "ValueError: it has 300"),
        (Letter(nested(199)), "NestedTooDeep: It is nested deeper than 200 levels"),
    ],
    ids=["too large", "too deep"],
)
def test_an_event_that_nobody_could_read_is_not_sent_and_stops_no_other(stream: Any, letter: Letter, why: str) -> None:
    with transaction.atomic():
        publish(letter, subject="N-0")
        publish(Note(1), subject="N-1")
    run()
    make_due()
    run()

    assert effects("N-1") == ["note 1"]
    assert (stream.xlen(STREAM), stream.exists(f"{STREAM}:refused")) == (1, 0)
    kept = OutboxEvent.objects.get(due_at__isnull=False)
    assert (kept.type, kept.error[: len(why)]) == ("shop.letter", why)
    assert kept.attempts >= 2


def test_what_is_no_event_is_set_aside_and_stops_no_other(stream: Any, caplog: pytest.LogCaptureFixture) -> None:
    bad = [
        {"event": "not json"},
        {"something": "else"},
        {"event": "[]"},
        other_service(1, specversion="0.3"),
        other_service(2, subject=""),
        other_service(3, time="2026-11-21T10:00:00"),
        other_service(4, time="yesterday"),
        other_service(5, id=""),
        {"event": json.dumps({"specversion": "1.0", "id": "x", "data": "y" * 300_000})},
        {"event": "[" * 100_000},
        other_service(6, data={"number": "\0"}),
        other_service(7, data={"number": "\ud800"}),
        other_service(8, data={"number": float("nan")}),
        other_service(10, subject="N\0"),
        other_service(11, data=json.loads("[" * 600 + "]" * 600)),
    ]
    for fields in bad:
        stream.xadd(STREAM, fields)
    stream.xadd(STREAM, other_service(9))
    run()

    refused = [fields[b"why"].decode() for _, fields in stream.xrange(f"{STREAM}:refused")]
    assert len(refused) == len(bad)
    assert "ValidationError: Invalid RFC3339 encoded datetime - at `$.time`" in refused
    assert effects("N-1") == ["note 9"]
    assert stream.xpending(STREAM, GROUP)["pending"] == 0


def test_a_worker_that_dies_before_it_acknowledges_is_followed_by_another(stream: Any, oven: Oven) -> None:
    reached = []

    def die(place: str) -> None:
        if place == "stream:ack:before":
            reached.append(place)
            raise KeyboardInterrupt

    stream.xadd(STREAM, other_service(1))
    with failpoints.listening(die), pytest.raises(KeyboardInterrupt):
        broker.receive()
    assert reached == ["stream:ack:before"]
    assert stream.xpending(STREAM, GROUP)["pending"] == 1

    stream.xadd(STREAM, other_service(2))
    run()

    assert (effects("N-1"), oven.calls) == (["note 1", "note 2"], ["read_note"] * 2)
    assert stream.xpending(STREAM, GROUP)["pending"] == 0


def test_what_another_process_took_and_did_not_deliver_is_not_overtaken(stream: Any) -> None:
    stream.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    for number in (1, 2, 3):
        stream.xadd(STREAM, other_service(number))
    (_, entries), *_ = stream.xreadgroup(GROUP, "somebody who froze", {STREAM: ">"}, count=1)
    assert len(entries) == 1

    run()

    assert effects("N-1") == ["note 1", "note 2", "note 3"]


def test_events_that_redis_lost_are_sent_again(stream: Any) -> None:
    with transaction.atomic():
        for number in (1, 2):
            publish(Note(number), subject="N-1")
    one = StreamBroker(settings.REDIS_URL, STREAM, GROUP)
    assert one.send()
    assert stream.xlen(STREAM) == 1
    stream.flushdb()

    run()
    assert effects("N-1") == []
    make_due()  # the time to come back is over
    run()

    assert effects("N-1") == ["note 1", "note 2"]
    assert not OutboxEvent.objects.filter(due_at__isnull=False).exists()


def test_while_redis_is_away_events_are_kept(stream: Any, caplog: pytest.LogCaptureFixture) -> None:
    away = StreamBroker("redis://127.0.0.1:9/0", STREAM, GROUP)
    with transaction.atomic():
        publish(Note(1), subject="N-1")

    assert (away.send(), away.receive()) == (False, False)
    assert "events cannot be sent, they are kept" in caplog.text
    assert OutboxEvent.objects.get().attempts == 1

    make_due()
    run()
    assert effects("N-1") == ["note 1"]


def test_two_who_send_and_receive_at_once_keep_the_order_and_deliver_once(stream: Any) -> None:
    with transaction.atomic():
        for number in range(12):
            publish(Note(number), subject=f"N-{number % 2}")

    race([lambda: drain_due(15), lambda: drain_due(15)])
    for _ in range(12):
        make_due()
        run()

    for subject in range(2):
        assert effects(f"N-{subject}") == [f"note {number}" for number in range(subject, 12, 2)]
    assert SagaInstance.objects.filter(status="COMPLETED").count() == 12
