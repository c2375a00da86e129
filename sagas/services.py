"""What other apps call."""

from datetime import datetime
from typing import Any

from django.db import transaction

from sagas import interventions, store, writing
from sagas.definition import Saga
from sagas.jobs import hint
from sagas.locks import OnConflict, guard
from sagas.machine import NotAllowed
from sagas.signals import send
from sagas.starting import Rejected, Started, ask_back, start, start_many
from sagas.steps import StepFunction, name_of

__all__ = [
    "OnConflict",
    "Rejected",
    "Started",
    "guard",
    "reschedule",
    "signal",
    "start",
    "start_many",
    "turn_back",
    "wake",
]


def turn_back(plan: type[Saga[Any]], key: str, *, code: str = "cancelled", why: str, actor: str = "customer") -> bool:
    """Ask a saga to go backward, as a cancel does. Says whether it is: before its pivot, and not ended.

    Decided under the saga's row lock: either this comes before the pivot's intent, or the pivot
    goes on and nothing has changed. A second call changes nothing.
    """
    with transaction.atomic():
        saga = store.lock_named(plan.plan.name, key)
        if saga is None or saga.plan is None or saga.state.terminal:
            return False
        if saga.state.backward:
            return True
        try:
            ask_back(saga, code, why, actor)
        except NotAllowed:
            return False
        transaction.on_commit(hint, robust=True)
        return True


def signal(
    plan: type[Saga[Any]], key: str, name: StepFunction, payload: Any, *, dedup_id: str, actor: str = "outside"
) -> bool:
    """Tell the saga of ``plan`` for ``key`` what it waits for, or will; ``name`` is the function of that step.

    See `sagas.signals.send`. Says whether the signal was new.
    """
    return send(plan.plan.name, key, name_of(name), payload, dedup_id=dedup_id, actor=actor)


def reschedule(
    plan: type[Saga[Any]], key: str, step: StepFunction, at: datetime | None, *, why: str, actor: str = "engine"
) -> bool:
    """Move the time limit of a step that waits for a signal, a person or a time. Says whether it was moved.

    To now or the past: the wait is over. None: there is no limit any more; a step that waits for nothing
    but its time always has one. Decided under the saga's row lock: when the signal or the time came first,
    nothing changes.
    """
    with transaction.atomic():
        saga = store.lock_named(plan.plan.name, key)
        if saga is None or saga.plan is None:
            return False
        planned = next((planned for planned in saga.plan.steps if planned.name == name_of(step)), None)
        if planned is None:
            # The plan of another version: what its saga waits for has another name.
            return False
        try:
            after = interventions.reschedule(saga.plan, saga.state, planned, at=at, now=saga.now)
        except NotAllowed:
            return False
        writing.write_one(saga, after, actor=actor, why=why)
        transaction.on_commit(hint, robust=True)
        return True


def wake(definition: str, key: str, *, why: str) -> None:
    """There is news from outside, such as a webhook: end the backoff of that saga and look again now.

    Nothing is believed and no status of a step is changed; the step's own check asks what is true.
    Harmless for a saga that does not pause, has ended or does not exist.
    """
    with transaction.atomic():
        saga = store.lock_named(definition, key)
        if saga is None or saga.plan is None:
            return
        after = interventions.hurry(saga.plan, saga.state, saga.now)
        if after != saga.state:
            writing.write_one(saga, after, actor="outside", why=why)
            transaction.on_commit(hint, robust=True)
