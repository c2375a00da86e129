from collections.abc import Iterator

import pytest
from django.db import connection, transaction

from sagas.driver import drain_due
from sagas.models import SagaInstance
from sagas.services import start
from tests.sagas import plans
from tests.sagas.plans import Trip, TripData, World


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


def begin_trip(number: str = "T1") -> SagaInstance:
    with transaction.atomic():
        return start(Trip, TripData(number), key=number)


def run(seconds: float = 5.0) -> None:
    """Drive all that is due, backoffs of some milliseconds included, until nothing is."""
    from time import sleep

    for _ in range(40):
        drain_due(seconds)
        pausing = SagaInstance.objects.filter(status__in=["WAITING", "COMPENSATING"], wake_at__isnull=False)
        if not pausing.exists():
            return
        sleep(0.01)


def run_trip(number: str = "T1") -> SagaInstance:
    saga = begin_trip(number)
    run()
    saga.refresh_from_db()
    return saga
