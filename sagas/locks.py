"""Semantic locks: a resource belongs to one live saga at a time. Take, guard, hand back.

Countermeasure "semantic lock" of Frank and Zahle, "Semantic ACID properties in multidatabases
using remote procedure calls and update propagations" (1998). The unique row is the lock.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction

from sagas import prepared
from sagas.exceptions import LockTaken
from sagas.models import SagaInstance, SemanticLock
from sagas.plan import Plan
from sagas.snapshot import SagaState
from sagas.states import DONE_ACTIONS
from sagas.steps import StepFunction


class OnConflict(StrEnum):
    """What a saga that starts does when another one holds what it needs.

    REJECT: it is not started. WAIT: it gets in line, first in first out, for a bounded time.
    ABORT_HOLDER: the holder is asked to go backward and the saga gets in line; past the holder's
    pivot it is rejected.
    """

    REJECT = "REJECT"
    WAIT = "WAIT"
    ABORT_HOLDER = "ABORT_HOLDER"


# The resource gets its row, or shows who has it already; inserts decide, never look-then-write.
# The row of another is locked as well, so that its holder cannot let go between the answer and our commit.
# One of nobody is that of a guard round us, see below.
_TAKE = """
    INSERT INTO sagas_semanticlock (resource_type, resource_id, saga_id, taken_at)
    VALUES (%s, %s, %s, clock_timestamp())
    ON CONFLICT (resource_type, resource_id) DO UPDATE
        SET wanted = sagas_semanticlock.wanted OR sagas_semanticlock.saga_id IS DISTINCT FROM excluded.saga_id,
            saga_id = coalesce(sagas_semanticlock.saga_id, excluded.saga_id)
    RETURNING saga_id, taken_at
"""

_GET_IN_LINE = """
    INSERT INTO sagas_lockwaiter (resource_type, resource_id, saga_id, since) VALUES (%s, %s, %s, clock_timestamp())
    ON CONFLICT DO NOTHING
"""

# Whoever hands these over at this moment is waited for, and whoever does so later finds the line without us.
_HOLD_WHAT_IS_AWAITED = """
    SELECT FROM sagas_semanticlock l JOIN sagas_lockwaiter w USING (resource_type, resource_id)
    WHERE w.saga_id = ANY(%s) ORDER BY resource_type, resource_id FOR UPDATE OF l
"""

# What nobody else has asked for just goes. Whoever is asking at this moment holds the row: the delete waits, looks
# again and leaves it. Says how many locks are left.
_FREE = """
    WITH left_line AS (
        DELETE FROM sagas_lockwaiter WHERE saga_id = ANY(%(sagas)s) AND %(only)s::text[] IS NULL
    ), freed AS (
        DELETE FROM sagas_semanticlock
        WHERE saga_id = ANY(%(sagas)s) AND NOT wanted
          AND (%(only)s::text[] IS NULL OR resource_type || ' ' || resource_id = ANY(%(only)s))
        RETURNING id
    )
    SELECT count(*) - (SELECT count(*) FROM freed) FROM sagas_semanticlock
    WHERE saga_id = ANY(%(sagas)s) AND (%(only)s::text[] IS NULL OR resource_type || ' ' || resource_id = ANY(%(only)s))
"""

# Of those, as a statement of its own before the hand-over: whoever is getting in line is waited for, and then seen.
_HOLD = """
    SELECT id FROM sagas_semanticlock
    WHERE saga_id = ANY(%(sagas)s) AND (%(only)s::text[] IS NULL OR resource_type || ' ' || resource_id = ANY(%(only)s))
    ORDER BY resource_type, resource_id FOR UPDATE
"""

# Each lock goes to the first in its line, or goes. The next holder is woken unless it is at work right
# now: then it waits for our commit anyway, and a deadlock is avoided.
_HAND_OVER = """
    WITH released AS (
        SELECT id, resource_type, resource_id, saga_id AS holder FROM sagas_semanticlock WHERE id = ANY(%(locks)s)
    ), first AS (
        SELECT DISTINCT ON (resource_type, resource_id) w.id, w.saga_id, resource_type, resource_id
        FROM sagas_lockwaiter w JOIN released USING (resource_type, resource_id)
        WHERE w.saga_id <> holder ORDER BY resource_type, resource_id, w.id
    ), handed AS (
        UPDATE sagas_semanticlock l SET saga_id = first.saga_id, taken_at = clock_timestamp()
        FROM first WHERE l.resource_type = first.resource_type AND l.resource_id = first.resource_id
    ), freed AS (
        DELETE FROM sagas_semanticlock l USING released r
        WHERE l.id = r.id AND NOT EXISTS (
            SELECT FROM first WHERE first.resource_type = r.resource_type AND first.resource_id = r.resource_id)
    ), served AS (
        DELETE FROM sagas_lockwaiter w USING first WHERE w.id = first.id
    )
    UPDATE sagas_sagainstance SET wake_at = clock_timestamp() WHERE id IN (
        SELECT s.id FROM sagas_sagainstance s JOIN first ON first.saga_id = s.id
        WHERE s.wake_at IS NOT NULL FOR NO KEY UPDATE OF s SKIP LOCKED)
"""


def resources(plan: Plan, data: Any, done: Sequence[StepFunction] = ()) -> list[tuple[str, str]]:
    """What a saga with this data holds after the steps ``done``, in the one order in which locks are taken."""
    return sorted((k.resource_type, k.resource_id(data)) for k in plan.locks if k.release_after not in done)


def take(plan: Plan, data: Any, saga_id: UUID) -> None:
    """Take what a saga holds, in the caller's transaction. A second call of the same saga changes nothing.

    Raises `LockTaken` if another holds one of them; the caller's transaction has to be rolled back then.
    """
    for resource in resources(plan, data):
        holder, since = _take(resource, saga_id)
        if holder != saga_id:
            raise _taken(resource, holder, since)


def take_or_wait(plan: Plan, data: Any, saga_id: UUID, state: SagaState | None = None) -> str:
    """Take what a saga holds one by one, and get in line at the first that another holds.

    Returns the words of that resource, or nothing when the saga holds all. Since everybody takes in
    one order, no two can wait for each other. What ``state`` has given back already is not taken again.
    """
    done = [p.spec.action for p in plan.steps if state and state.steps[p.position].action in DONE_ACTIONS]
    for resource in resources(plan, data, done):
        holder, _ = _take(resource, saga_id)
        if holder != saga_id:
            with prepared.cursor() as cursor:
                cursor.execute(_GET_IN_LINE, [*resource, saga_id])
            return " ".join(resource)
    return ""


def held_by_others(plan: Plan, data: Any, saga_id: UUID) -> Iterator[tuple[tuple[str, str], UUID, datetime]]:
    """Each resource that another saga holds, with who and since when. Locks nothing."""
    for kind, key in resources(plan, data):
        lock = SemanticLock.objects.filter(resource_type=kind, resource_id=key, saga__isnull=False).first()
        if lock is not None and lock.saga_id is not None and lock.saga_id != saga_id:
            yield (kind, key), lock.saga_id, lock.taken_at


def held_by(saga_id: UUID) -> list[str]:
    """What a saga holds, in words."""
    locks = SemanticLock.objects.filter(saga_id=saga_id).order_by("resource_type", "resource_id")
    return [" ".join((lock.resource_type, lock.resource_id)) for lock in locks]


def release(saga_ids: Sequence[UUID], only: list[str] | None = None) -> None:
    """Hand the locks of sagas to those who wait, in the commit that lets go. All of them, and the sagas' places in
    line, unless ``only`` names some in words."""
    parameters = {"sagas": list(saga_ids), "only": only}
    with prepared.cursor() as cursor:
        cursor.execute(_FREE, parameters)
        if cursor.fetchone() != (0,):
            cursor.execute(_HOLD, parameters)
            cursor.execute(_HAND_OVER, {"locks": [row[0] for row in cursor.fetchall()]})


def before_leaving_line(saga_ids: Sequence[UUID]) -> None:
    """For sagas that end while they are in line: no lock may be handed to them as they go, for they would keep it."""
    with prepared.cursor() as cursor:
        cursor.execute(_HOLD_WHAT_IS_AWAITED, [list(saga_ids)])


@contextmanager
def guard(resource_type: str, resource_id: str) -> Iterator[None]:
    """Let a writer that is no saga change a resource: no saga holds it, or takes it meanwhile.

    Use it inside the transaction that writes; a saga that starts meanwhile waits for the end of
    that transaction, unless it is started in it: that one takes the resource over. Raises `LockTaken`
    with the holder.
    """
    with transaction.atomic():
        holder, since = _take((resource_type, resource_id), None)
        if holder is not None:
            raise _taken((resource_type, resource_id), holder, since)
        yield
        SemanticLock.objects.filter(resource_type=resource_type, resource_id=resource_id, saga=None).delete()


def _take(resource: tuple[str, str], saga_id: UUID | None) -> tuple[UUID | None, datetime]:
    with prepared.cursor() as cursor:
        cursor.execute(_TAKE, [*resource, saga_id])
        holder, since = cursor.fetchone()
    return holder, since


def _taken(resource: tuple[str, str], holder: UUID | None, since: datetime) -> LockTaken:
    saga = SagaInstance.objects.only("definition", "business_key").get(pk=str(holder))
    return LockTaken(*resource, saga.definition, saga.business_key, since)
