from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from time import sleep
from types import new_class
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from sagas import engine, turns
from sagas.attempts import Call
from sagas.definition import Parallel, Saga, Step, registry
from sagas.driver import drain_due
from sagas.engine import work
from sagas.models import SagaInstance
from sagas.services import start
from tests.sagas import plans
from tests.sagas.operators import PERMISSIONS, staff
from tests.sagas.outside import SharedWorld
from tests.sagas.plans import Trip, TripData, World


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, nobody is left for the next commit, or late, because the moment was over."""
    monkeypatch.setattr(engine, "SHARED_SECONDS", 60.0)
    monkeypatch.setattr(engine, "LATE", timedelta(seconds=30))


@pytest.fixture
def no_deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for workers with newer code."""
    monkeypatch.setattr(turns, "WAIT_FOR_CODE", timedelta(0))


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    """The outside world, new for each test, and the table of local effects."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS test_effect (key text, what text, UNIQUE (key, what))")
        cursor.execute("TRUNCATE test_effect")
    plans.world = World()
    yield plans.world
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE test_effect")


@pytest.fixture
def shared(world: World, tmp_path: Path) -> SharedWorld:
    """The outside world of `plans` for this test, seen by every process that it forks."""
    outside = SharedWorld(tmp_path)
    plans.world = outside
    return outside


@pytest.fixture
def short_patience(world: World) -> Iterator[None]:
    """This connection waits for a row a moment only."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    yield
    connection.close()


@pytest.fixture
def operator(world: World) -> User:
    """Somebody who may do everything to sagas."""
    return staff("olga", *PERMISSIONS.values())


@pytest.fixture
def define(world: World) -> Iterator[Callable[..., type[Saga[TripData]]]]:
    """Define a saga for one test: ``define(Step(...), Pivot(...), version=2)``. It is forgotten afterwards."""
    before = dict(registry)

    def saga(*steps: Step | Parallel, **words: Any) -> type[Saga[TripData]]:
        said = {"name": "test.own", "version": 1, "steps": steps, **words}
        return new_class("Own", (Saga[TripData],), exec_body=lambda body: body.update(said))

    yield saga
    registry.clear()
    registry.update(before)


def begin(plan: type[Saga[TripData]], number: str = "T1") -> SagaInstance:
    with transaction.atomic():
        return start(plan, TripData(number), key=number)


def begin_call(saga: SagaInstance) -> Call:
    """Up to the commit before the next call, which is not made."""
    while not isinstance(moved := work(saga.pk), Call):
        assert moved is not None
    return moved


def run_saga(plan: type[Saga[TripData]], number: str = "T1") -> SagaInstance:
    saga = begin(plan, number)
    run()
    saga.refresh_from_db()
    return saga


def begin_trip(number: str = "T1") -> SagaInstance:
    return begin(Trip, number)


def run(seconds: float = 5.0) -> None:
    """Drive all that is due, backoffs of some milliseconds included, until nothing is."""
    for _ in range(40):
        drain_due(seconds)
        pausing = SagaInstance.objects.filter(status__in=["WAITING", "COMPENSATING"], wake_at__isnull=False)
        if not pausing.exists():
            return
        sleep(0.01)


def run_trip(number: str = "T1") -> SagaInstance:
    return run_saga(Trip, number)
