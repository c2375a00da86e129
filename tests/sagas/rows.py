"""The rows of a saga as the tests look at them, and the stored times that they move instead of sleeping."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections, transaction

from sagas.models import SagaInstance, SagaStep


def statuses(saga: SagaInstance) -> dict[str, tuple[str, str]]:
    """Action and compensation of every step that was touched."""
    return {step.name: (step.action, step.compensation) for step in saga.steps.all()}


def step_of(saga: SagaInstance, name: str) -> SagaStep:
    return saga.steps.get(name=name)


def outcomes(saga: SagaInstance, step: str, side: str = "action") -> list[str]:
    """The outcomes of a step's attempts in order; empty for one that has not ended."""
    return list(saga.attempts.filter(step=step, side=side).order_by("number").values_list("outcome", flat=True))


def moves(saga: SagaInstance, what: str = "saga", step: str = "") -> list[tuple[str, str]]:
    """Every change of one status, as its events tell it."""
    found = saga.events.filter(what=what, step=step).order_by("id")
    return list(found.values_list("before", "after"))


def snapshot(saga: SagaInstance) -> tuple[Any, ...]:
    """All that is stored of a saga: to see that nothing has changed."""
    rows = SagaInstance.objects.filter(pk=saga.pk).values()
    parts = [related.order_by("pk").values() for related in (saga.steps, saga.attempts, saga.events, saga.locks)]
    return (list(rows), *(list(part) for part in parts))


def end_lease(saga: SagaInstance) -> None:
    """The lease of every call under way is over, just now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_sagastep SET due_at = clock_timestamp() - interval '1 ms' WHERE saga_id = %s AND token <> 0",
            [saga.pk],
        )
        assert cursor.rowcount > 0, "no call is under way"
    make_due(saga)


def end_backoff(saga: SagaInstance) -> None:
    """Every pause of a saga is over, just now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_sagastep SET due_at = clock_timestamp() - interval '1 ms' "
            "WHERE saga_id = %s AND token = 0 AND due_at IS NOT NULL",
            [saga.pk],
        )
    make_due(saga)


def make_due(saga: SagaInstance, *, since: str = "1 ms") -> None:
    """The saga has been due for so long."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_sagainstance SET wake_at = clock_timestamp() - %s::interval WHERE id = %s", [since, saga.pk]
        )


def pass_deadline(saga: SagaInstance) -> None:
    """The deadline of a saga passed just now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_sagainstance SET deadline_at = clock_timestamp() - interval '1 ms' WHERE id = %s", [saga.pk]
        )
    make_due(saga)


@contextmanager
def held(*sagas: SagaInstance) -> Iterator[None]:
    """Another connection holds the rows of these sagas, as a worker in the middle of a step does."""
    taken, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(
                    "SELECT FROM sagas_sagainstance WHERE id = ANY(%s) FOR UPDATE", [[saga.pk for saga in sagas]]
                )
                taken.set()
                let_go.wait(timeout=30)
        finally:
            connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(timeout=30)
    try:
        yield
    finally:
        let_go.set()
        holder.join()
