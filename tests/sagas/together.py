"""Sagas that are due at the same time, and what their shared commits do."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from unittest import mock

from django.db import connection, connections, transaction

from sagas import store
from sagas.definition import Context, Retry, Saga, Step, seconds
from sagas.models import SagaInstance
from sagas.store import LoadedSaga
from tests.sagas import plans
from tests.sagas.conftest import begin
from tests.sagas.plans import TripData, effect

# A pause that no test waits for.
LATER = Retry(attempts=3, first=seconds(600), cap=seconds(600))


def note(ctx: Context[TripData]) -> None:
    """Write, leave word for after the commit, and then have the accident that is scripted for this key."""
    effect(ctx, "noted")
    transaction.on_commit(partial(tell, ctx.key))
    plans.world.before(ctx.key)


def tell(key: str) -> None:
    plans.world.before(f"told {key}")


def told() -> list[str]:
    """Whose callbacks ran after their commits, in order."""
    return [name.removeprefix("told ") for name in plans.world.calls.elements() if name.startswith("told ")]


NOTE = Step(note, reads_only=True, retry=LATER)


def begin_all(plan: type[Saga[TripData]], *numbers: str) -> list[SagaInstance]:
    """Sagas in the order in which they are due."""
    return [begin(plan, number) for number in numbers]


def loaded(*sagas: SagaInstance) -> list[LoadedSaga]:
    """As a driver has them at hand after their last commit."""
    found = [store.read(saga.pk) for saga in sagas]
    return [saga for saga in found if saga is not None]


def statuses_of(*sagas: SagaInstance) -> list[str]:
    for saga in sagas:
        saga.refresh_from_db()
    return [saga.status for saga in sagas]


@contextmanager
def _counted(method: str) -> Iterator[Callable[[], int]]:
    here = connections[connection.alias]
    with mock.patch.object(here, method, wraps=getattr(here, method)) as called:
        yield lambda: called.call_count


def commits_counted() -> AbstractContextManager[Callable[[], int]]:
    """How many transactions this connection has committed since."""
    return _counted("_commit")


def rollbacks_counted() -> AbstractContextManager[Callable[[], int]]:
    """How many it has rolled back as a whole."""
    return _counted("_rollback")


def execute(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
