"""docs/choreography.md: its events and settings are those that there are, and its subscriber works."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from sagas.choreography import events, subscriptions
from sagas.choreography.models import OutboxEvent
from sagas.choreography.services import publish
from sagas.definition import registry
from sagas.driver import drain_due
from shop.choreographed_checkout import checkout_flow
from shop.events import OrderConfirmed, OrderPlaced

TEXT = (Path(__file__).parents[2] / "docs" / "choreography.md").read_text()


def test_every_event_that_is_named_is_one_of_the_flow_and_the_other_way_round() -> None:
    named = set(re.findall(r"\b(?:shop|inventory|payments|shipping)\.[a-z]+_[a-z]+\b", TEXT))

    assert named - {"shop.choreographed_checkout"} == checkout_flow.types
    assert checkout_flow.types <= set(events.names.values())


def test_every_setting_that_is_named_exists() -> None:
    named = set(re.findall(r"\b((?:EVENTS|CHECKOUT)_[A-Z]+)\b", TEXT))

    assert named == {"CHECKOUT_MODE", "EVENTS_TRANSPORT", "EVENTS_STREAM", "EVENTS_GROUP"}
    assert all(hasattr(settings, name) for name in named)


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a test subscribes is known no more after it."""
    rooms: list[dict[Any, Any]] = [subscriptions.subscriptions, registry, events.names]
    before = [dict(room) for room in rooms]
    yield
    for room, known in zip(rooms, before, strict=True):
        room.clear()
        room.update(known)


@pytest.mark.django_db(transaction=True)
def test_the_subscriber_of_the_text_works(forgotten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, int] = {}
    services = ModuleType("loyalty.services")
    services.add_points = given.__setitem__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "loyalty", ModuleType("loyalty"))
    monkeypatch.setitem(sys.modules, "loyalty.services", services)
    for name, code in re.findall(r"```python\n# (loyalty/\w+)\.py[^\n]*\n(.*?)```", TEXT, re.S):
        module = ModuleType(name.replace("/", "."))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(code, module.__dict__)

    with transaction.atomic():
        first = publish(OrderPlaced({"MUG": 1}, 1999, "EUR", "pm", {}, 300), subject="L-1")
        placed = OutboxEvent.objects.get(event_id=first)
        OutboxEvent.objects.filter(pk=placed.pk).update(due_at=None)
        cause = events.Delivery(first, placed.type, "L-1", first)
        publish(OrderConfirmed(), cause=cause)
    drain_due(5)

    assert given == {"L-1": 19}
    assert OutboxEvent.objects.get(type="loyalty.points_given").data == {"points": 19}
