"""What other apps call."""

import json
from typing import Any, TypeVar

import uuid_utils.compat as uuid_utils
from django.db import connection, transaction

from sagas import interventions, locks, store
from sagas.codec import from_json, to_json
from sagas.definition import Saga
from sagas.jobs import hint
from sagas.locks import guard
from sagas.models import SagaInstance
from sagas.signals import hold_back_starts, send
from sagas.steps import StepFunction, name_of

__all__ = ["guard", "signal", "start", "wake"]

D = TypeVar("D")

_START = """
    WITH saga AS (
        INSERT INTO sagas_sagainstance (id, definition, definition_version, business_key, data, status, backward,
            pivot_passed, generation, version, wake_at, suspend_reason, attention, stalls, deadline_at, caused_by_id,
            created_at, updated_at)
        VALUES (%(id)s, %(definition)s, %(version)s, %(key)s, %(data)s, 'PENDING', false, false, 0, 1,
            clock_timestamp(), '', '', 0, clock_timestamp() + %(deadline)s, %(caused_by)s, clock_timestamp(),
            clock_timestamp())
        ON CONFLICT (definition, business_key) DO NOTHING
        RETURNING id
    )
    INSERT INTO sagas_sagaevent (saga_id, step, what, before, after, actor, why, generation, at)
    SELECT id, '', 'saga', '', 'PENDING', %(actor)s, '', 0, clock_timestamp() FROM saga
    RETURNING saga_id
"""


def start(
    plan: type[Saga[D]], data: D, *, key: str, caused_by: SagaInstance | None = None, actor: str = "engine"
) -> SagaInstance:
    """Start ``plan`` for the thing named ``key``, once.

    Call it in the transaction that creates the thing: the saga is stored with it, and its first
    steps are hinted at when that transaction commits. A second call with the same ``key`` returns
    the first saga, unchanged.

    Raises `LockTaken` if another saga holds a resource this one needs, and
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
    }
    if compiled.awaits:
        hold_back_starts(compiled.name, key)
    with connection.cursor() as cursor:
        cursor.execute(_START, parameters)
        started = cursor.fetchone() is not None
    if started:
        locks.take(compiled, data, saga_id)
        transaction.on_commit(hint, robust=True)
    return SagaInstance.objects.get(definition=compiled.name, business_key=key)


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
    saga_id = SagaInstance.objects.filter(definition=definition, business_key=key).values_list("pk", flat=True).first()
    if saga_id is None:
        return
    with transaction.atomic():
        saga = store.lock(saga_id)
        if saga is None or saga.plan is None:
            return
        after = interventions.hurry(saga.plan, saga.state, saga.now)
        if after != saga.state:
            store.write(saga, after, actor="outside", why=why)
            transaction.on_commit(hint, robust=True)
