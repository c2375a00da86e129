from collections.abc import Iterator
from typing import Any

import pytest

from sagas.choreography import flows
from sagas.choreography import subscriptions as room
from sagas.definition import registry
from tests.sagas.choreography import bakery
from tests.sagas.conftest import world

__all__ = ["world"]

# Made on import: known only while a test of this room runs.
_sagas = {key: plan for key, plan in registry.items() if plan.name.startswith(("tests.", "test.bread"))}
_own = {name: subscription for name, subscription in room.subscriptions.items() if name.startswith("tests.")}
for _name in _own:
    del room.subscriptions[_name]


@pytest.fixture(autouse=True)
def oven(world: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[bakery.Oven]:
    """The bakery is open: its handlers subscribe, its flow is declared, nothing has gone wrong yet."""
    for name, subscription in _own.items():
        monkeypatch.setitem(room.subscriptions, name, subscription)
    for key, plan in _sagas.items():
        monkeypatch.setitem(registry, key, plan)
    bakery.oven.accidents.clear()
    bakery.oven.calls.clear()
    flows.declare(bakery.FLOW)
    yield bakery.oven
    flows.flows.remove(bakery.FLOW)
