"""What other apps call."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import uuid_utils.compat as uuid_utils
from django.db import connection, transaction

from sagas import interventions, locks, machine, store
from sagas.codec import from_json, to_json
from sagas.definition import Saga
from sagas.exceptions import LockTaken
from sagas.jobs import hint
from sagas.locks import OnConflict, guard
from sagas.machine import NotAllowed, advance
from sagas.models import SagaInstance
from sagas.plan import Plan
from sagas.signals import hold_back_starts, send
from sagas.steps import StepFunction, name_of
from sagas.store import LoadedSaga

__all__ = ["OnConflict", "guard", "signal", "start", "turn_back", "wake"]

# How long a saga waits in line for a lock before it turns back.
PATIENCE = timedelta(minutes=10)

D = TypeVar("D")

_START = """
    WITH saga AS (
        INSERT INTO sagas_sagainstance (id, definition, definition_version, business_key, data, status, backward,
            pivot_passed, generation, version, wake_at, suspend_reason, attention, stalls, deadline_at, caused_by_id,
            created_at, updated_at, blocked_on, blocked_until)
        VALUES (%(id)s, %(definition)s, %(version)s, %(key)s, %(data)s, 'PENDING', false, false, 0, 1,
            clock_timestamp(), '', '', 0, clock_timestamp() + %(deadline)s, %(caused_by)s, clock_timestamp(),
            clock_timestamp(), '', clock_timestamp() + %(patience)s)
        ON CONFLICT (definition, business_key) DO NOTHING
        RETURNING id
    )
    INSERT INTO sagas_sagaevent (saga_id, step, what, before, after, actor, why, generation, at)
    SELECT id, '', 'saga', '', 'PENDING', %(actor)s, '', 0, clock_timestamp() FROM saga
    RETURNING saga_id
"""


def start(
    plan: type[Saga[D]],
    data: D,
    *,
    key: str,
    on_conflict: OnConflict = OnConflict.REJECT,
    patience: timedelta = PATIENCE,
    caused_by: SagaInstance | None = None,
    actor: str = "engine",
) -> SagaInstance:
    """Start ``plan`` for the thing named ``key``, once.

    Call it in the transaction that creates the thing: the saga is stored with it, and its first
    steps are hinted at when that transaction commits. A second call with the same ``key`` returns
    the first saga, unchanged.

    If another saga holds a resource this one needs, ``on_conflict`` decides; who gets in line turns
    back after ``patience``. Raises `LockTaken` where that means to reject, and
    `msgspec.ValidationError` if ``data`` is not what the plan says it is.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            "Start a saga inside `transaction.atomic()`, with the row that it is about: both are stored, or neither."
        )
    compiled = plan.plan
    stored = to_json(data)
    from_json(compiled.data_type, stored)
    saga_id = uuid_utils.uuid7()
    parameters: dict[str, Any] = {
        "id": saga_id,
        "definition": compiled.name,
        "version": compiled.version,
        "key": key,
        "data": json.dumps(stored),
        "deadline": compiled.deadline,
        "caused_by": caused_by.pk if caused_by else None,
        "actor": actor,
        "patience": None if on_conflict is OnConflict.REJECT else patience,
    }
    if compiled.awaits:
        hold_back_starts(compiled.name, key)
    with connection.cursor() as cursor:
        cursor.execute(_START, parameters)
        started = cursor.fetchone() is not None
    if started:
        _take_locks(compiled, data, saga_id, on_conflict, actor)
        transaction.on_commit(hint, robust=True)
    return SagaInstance.objects.get(definition=compiled.name, business_key=key)


def _take_locks(plan: Plan, data: Any, saga_id: UUID, on_conflict: OnConflict, actor: str) -> None:
    if on_conflict is OnConflict.REJECT:
        locks.take(plan, data, saga_id)
        return
    # Saga rows are locked before lock rows, here as in a saga that ends.
    if on_conflict is OnConflict.ABORT_HOLDER and (held := locks.holder_of(plan, data, saga_id)):
        resource, holder_id, since = held
        if (holder := store.lock(holder_id)) is not None and not holder.state.terminal:
            _abort(holder, resource, since, actor)
    blocked_on = locks.take_or_wait(plan, data, saga_id)
    if blocked_on and (saga := store.lock(saga_id)) is not None and saga.plan is not None:
        after = advance(saga.plan, replace(saga.state, blocked_on=blocked_on), saga.now)
        store.write(saga, after, actor=actor, why=f"in line for {blocked_on}")


def _abort(holder: LoadedSaga, resource: tuple[str, str], since: datetime, actor: str) -> None:
    """Ask the holder of a lock to go backward; one that does so already is let be."""
    if holder.plan is not None and not holder.state.backward:
        try:
            _turn_back(holder, "cancelled", f"another saga needs {' '.join(resource)}", actor)
        except NotAllowed as error:
            raise LockTaken(*resource, holder.definition, holder.key, since) from error


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
            _turn_back(saga, code, why, actor)
        except NotAllowed:
            return False
        transaction.on_commit(hint, robust=True)
        return True


def _turn_back(saga: LoadedSaga, code: str, why: str, actor: str) -> None:
    assert saga.plan is not None
    store.write(saga, machine.turn_back(saga.plan, saga.state, code, why, saga.now), actor=actor, why=why)


def signal(
    plan: type[Saga[Any]], key: str, name: StepFunction, payload: Any, *, dedup_id: str, actor: str = "outside"
) -> bool:
    """Tell the saga of ``plan`` for ``key`` what it waits for, or will; ``name`` is the function of that step.

    See `sagas.signals.send`. Says whether the signal was new.
    """
    return send(plan.plan.name, key, name_of(name), payload, dedup_id=dedup_id, actor=actor)


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
            store.write(saga, after, actor="outside", why=why)
            transaction.on_commit(hint, robust=True)
