"""What breaks between a commit and its reaction. Every test sees that its fault happened."""

import logging
from time import monotonic
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import OperationalError, connections, transaction
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from sagas.choreography import broker, outbox
from sagas.choreography.broker import LocalBroker, deliver
from sagas.choreography.models import OutboxEvent
from sagas.choreography.outbox import as_event, is_any_due, publish
from sagas.driver import drain_due
from sagas.engine import work
from sagas.jobs import QUEUE, HintQueue
from sagas.models import SagaInstance
from sagas.sweeper import sweep
from tests.racing import race
from tests.sagas.choreography.bakery import Note, Oven, effects, take_order
from tests.sagas.choreography.killing import killed_at, points_of
from tests.sagas.conftest import run

WHOLE = ["baked", "billed", "handed over"]


def let_leases_end() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("UPDATE sagas_sagastep SET due_at = clock_timestamp() WHERE token > 0")
        cursor.execute(
            "UPDATE sagas_sagainstance SET wake_at = clock_timestamp() WHERE id IN"
            " (SELECT saga_id FROM sagas_sagastep WHERE token > 0)"
        )


def one_order() -> None:
    take_order("B-1", 2)
    drain_due(5)


def test_a_worker_killed_anywhere_leaves_a_flow_that_ends_the_same_way() -> None:
    places = points_of(one_order)
    assert {"publish:shop.bread_ordered:after-commit", "deliver:after-commit", "deliver:before-commit"} <= {*places}
    assert effects("B-1") == WHOLE

    for number, place in enumerate(places):
        key = f"K-{number}"

        def story(key: str = key) -> None:
            take_order(key, 2)
            drain_due(5)

        assert killed_at(place, story), place
        if not SagaInstance.objects.filter(business_key=key).exists():
            assert effects(key) == [], place  # before the first commit there is nothing
            continue
        let_leases_end()
        run()
        assert effects(key) == WHOLE, place


def test_without_any_hint_the_sweeper_finds_the_event() -> None:
    queue = redis.Redis.from_url(settings.REDIS_URL)
    take_order("B-1", 2)
    assert queue.delete(f"rq:queue:{QUEUE}") == 1  # the hint was there, and is lost

    assert sweep()
    assert queue.llen(f"rq:queue:{QUEUE}") == 1
    run()
    assert effects("B-1") == WHOLE


def test_with_redis_emptied_and_away_the_flow_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    nowhere = redis.Redis(port=9, socket_connect_timeout=0.05, retry=None)
    monkeypatch.setattr("sagas.jobs._queue", lambda: HintQueue(nowhere))

    take_order("B-1", 2)
    sweep()
    run()

    assert "no hint could be sent" in caplog.text
    assert effects("B-1") == WHOLE


def test_two_who_carry_at_once_deliver_each_event_once(oven: Oven) -> None:
    with transaction.atomic():
        for number in range(20):
            publish(Note(number), subject=f"N-{number % 4}")

    def carry_all() -> int:
        carried, until = 0, monotonic() + 60
        while is_any_due() and monotonic() < until:
            carried += LocalBroker().send()
        return carried

    carried = race([carry_all, carry_all])
    assert all(isinstance(count, int) for count in carried), carried
    assert not OutboxEvent.objects.filter(due_at__isnull=False).exists()
    race([lambda: drain_due(10), lambda: drain_due(10)])
    run()

    for subject in range(4):
        assert effects(f"N-{subject}") == [f"note {number}" for number in range(subject, 20, 4)]
    assert len(oven.calls) >= 20


def test_two_who_deliver_the_same_event_at_once_make_one_inbox_row() -> None:
    with transaction.atomic():
        publish(Note(1), subject="N-1")
    event = as_event(OutboxEvent.objects.get())

    def take_in() -> str:
        with transaction.atomic():
            deliver(event)
        return "delivered"

    assert race([take_in] * 4) == ["delivered"] * 4
    run()
    assert SagaInstance.objects.count() == 1
    assert effects("N-1") == ["note 1"]


def test_a_worker_that_dies_in_a_handler_leaves_nothing_of_it(oven: Oven) -> None:
    def die() -> None:
        raise OperationalError("the server went away")

    oven.accidents["read_note"] = [die]
    with transaction.atomic():
        publish(Note(1), subject="N-1")
    run()

    assert oven.calls == ["read_note", "read_note"]
    assert effects("N-1") == ["note 1"]


def test_an_event_that_cannot_be_delivered_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = broker.subscribers

    def broken(event: Any) -> Any:
        if event.subject == "bad":
            raise RuntimeError("no")
        return whole(event)

    monkeypatch.setattr(broker, "subscribers", broken)
    with transaction.atomic():
        publish(Note(1), subject="bad")
        publish(Note(1), subject="good")
    with caplog.at_level(logging.CRITICAL):
        drain_due(5)

    stuck = OutboxEvent.objects.get(subject="bad")
    assert (stuck.attempts >= 1, stuck.error) == (True, "RuntimeError: no")
    assert effects("good") == ["note 1"]
    monkeypatch.undo()


def test_a_commit_that_comes_later_than_one_with_a_higher_id_is_not_lost() -> None:
    """What a watermark of ids would lose."""
    reached: list[list[str]] = []

    def later() -> None:
        with transaction.atomic():
            publish(Note(2), subject="second")
        while LocalBroker().send():
            pass
        reached.append(list(OutboxEvent.objects.values_list("subject", flat=True)))

    with transaction.atomic():
        publish(Note(1), subject="first")
        (answer,) = race([later])
        assert answer is None
    assert reached == [["second"]]

    run()
    assert (effects("first"), effects("second")) == (["note 1"], ["note 2"])


@given(st.data())
@example(None)
@examples(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_whatever_order_and_however_often_events_come_the_flow_ends_the_same_way(data: st.DataObject | None) -> None:
    """Deliveries and turns of sagas are drawn one by one; each event comes as often as it likes."""
    key = f"H-{SagaInstance.objects.count()}-{OutboxEvent.objects.count()}"
    take_order(key, 2)

    def moves() -> list[tuple[str, Any]]:
        events = OutboxEvent.objects.filter(subject=key).order_by("id")
        due = SagaInstance.objects.filter(wake_at__isnull=False).order_by("id")
        return [*(("deliver", row) for row in events), *(("work", saga) for saga in due)]

    for _ in range(12 if data else 0):
        what, row = data.draw(st.sampled_from(moves()), label="next")  # type: ignore[union-attr]
        if what == "work":
            work(row.pk)
            continue
        with transaction.atomic():
            deliver(as_event(row))
    let_leases_end()
    run()

    assert effects(key) == WHOLE
    assert not outbox.is_any_due()
