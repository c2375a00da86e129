"""Semantic locks: a resource belongs to one live saga at a time. Take, guard, hand back.

Countermeasure "semantic lock" of Frank and Zahle, "Semantic ACID properties in multidatabases
using remote procedure calls and update propagations" (1998). The unique row is the lock.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from sagas.exceptions import LockTaken
from sagas.models import SagaInstance, SemanticLock
from sagas.plan import Plan

# Every resource gets its row or shows who has it already; inserts decide, never look-then-write.
# A conflicting row is locked, so that its holder cannot let go between the answer and our commit.
_TAKE = """
    INSERT INTO sagas_semanticlock (resource_type, resource_id, saga_id, generation, taken_at)
    SELECT r.type, r.id, %s, 0, clock_timestamp()
    FROM jsonb_to_recordset(%s::jsonb) AS r(type text, id text) ORDER BY r.type, r.id
    ON CONFLICT (resource_type, resource_id) DO UPDATE SET generation = sagas_semanticlock.generation
    RETURNING resource_type, resource_id, saga_id, taken_at
"""


def take(plan: Plan, data: Any, saga_id: UUID) -> None:
    """Take what a saga with this data holds, in sorted order, in the caller's transaction.

    A second call of the same saga changes nothing. Raises `LockTaken` if another holds one of
    them; the caller's transaction has to be rolled back then.
    """
    if plan.locks:
        _take([(lock.resource_type, lock.resource_id(data)) for lock in plan.locks], saga_id)


@contextmanager
def guard(resource_type: str, resource_id: str) -> Iterator[None]:
    """Let a writer that is no saga change a resource: no saga holds it, or takes it meanwhile.

    Use it inside the transaction that writes; a saga that starts meanwhile waits for the end of
    that transaction. Raises `LockTaken` with the holder.
    """
    with transaction.atomic():
        _take([(resource_type, resource_id)], None)
        yield
        SemanticLock.objects.filter(resource_type=resource_type, resource_id=resource_id, saga=None).delete()


def _take(resources: list[tuple[str, str]], saga_id: UUID | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [saga_id, json.dumps([{"type": kind, "id": key} for kind, key in resources])])
        for resource_type, resource_id, holder, taken_at in cursor.fetchall():
            if holder != saga_id:
                raise _taken(resource_type, resource_id, holder, taken_at)


def _taken(resource_type: str, resource_id: str, holder: UUID, since: datetime) -> LockTaken:
    saga = SagaInstance.objects.only("definition", "business_key").get(pk=holder)
    return LockTaken(resource_type, resource_id, saga.definition, saga.business_key, since)
