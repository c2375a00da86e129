"""Starting sagas: one, or a batch in as few statements; and what happens when a lock is taken."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar
from uuid import UUID

import uuid_utils.compat as uuid_utils
from django.db import DEFAULT_DB_ALIAS, connection, transaction
from msgspec.structs import replace

from sagas import failpoints, locks, machine, prepared, store, tracing, writing
from sagas.codec import from_json, to_json
from sagas.definition import Saga
from sagas.exceptions import LockTaken
from sagas.jobs import hint
from sagas.locks import OnConflict
from sagas.machine import NotAllowed, advance
from sagas.models import SagaInstance
from sagas.plan import Plan
from sagas.signals import hold_back_starts
from sagas.states import SagaStatus
from sagas.store import LoadedSaga

D = TypeVar("D")

# How long a saga waits in line for a lock before it turns back.
PATIENCE = timedelta(minutes=10)

_INSERT = """
    WITH saga AS (
        INSERT INTO sagas_sagainstance (id, definition, definition_version, business_key, data, status, backward,
            pivot_passed, generation, version, wake_at, suspend_reason, attention, stalls, deadline_at, caused_by_id,
            created_at, updated_at, blocked_on, blocked_until, trace)
        SELECT s.id, %(definition)s, %(version)s, s.key, s.data, 'PENDING', false, false, 0, 1, t.now,
            '', '', 0, t.now + %(deadline)s::interval, %(caused_by)s, t.now, t.now, '', t.now + %(patience)s::interval,
            %(trace)s
        FROM (SELECT clock_timestamp() AS now) AS t, {sagas}
        ON CONFLICT (definition, business_key) DO NOTHING
        RETURNING id, business_key, created_at, deadline_at, blocked_until
    ), events AS (
        INSERT INTO sagas_sagaevent (saga_id, step, what, before, after, actor, why, generation, at)
        SELECT id, '', 'saga', '', 'PENDING', %(actor)s, '', 0, clock_timestamp() FROM saga
    )
    SELECT business_key, created_at, deadline_at, blocked_until FROM saga
"""
# PostgreSQL reads a set of records in a fifth of the whole time: one saga is put as it is.
_START = _INSERT.format(sagas="(VALUES (%(id)s::uuid, %(key)s, %(data)s::jsonb)) AS s(id, key, data)")
_START_MANY = _INSERT.format(
    sagas="jsonb_to_recordset(%(sagas)s::jsonb) AS s(id uuid, key text, data jsonb) ORDER BY s.key"
)

# Of a batch: each resource goes to the first that asks, unless a saga has it. Sorted, as all who take locks.
_TAKE_MANY = """
    INSERT INTO sagas_semanticlock (resource_type, resource_id, saga_id, taken_at)
    SELECT r.type, r.key, r.saga, clock_timestamp()
    FROM jsonb_to_recordset(%s::jsonb) AS r(type text, key text, saga uuid, nth int) ORDER BY r.type, r.key, r.nth
    ON CONFLICT (resource_type, resource_id) DO NOTHING RETURNING saga_id
"""


@dataclass(frozen=True, slots=True)
class Started:
    """What became of one saga of a batch. ``new`` is False when there was one with that key already."""

    key: str
    saga_id: UUID
    new: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A saga of a batch that was not started: another saga holds what it needs."""

    key: str


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
    back after ``patience``. Raises `LockTaken` where that means to reject: the transaction can then
    only be rolled back. Raises `msgspec.ValidationError` if ``data`` is not what the plan says it is.
    """
    compiled = plan.plan
    saga = _insert(compiled, [(key, data)], on_conflict, patience, caused_by, actor).get(key)
    if saga is None:
        return SagaInstance.objects.get(definition=compiled.name, business_key=key)
    try:
        in_line = _take_locks(compiled, data, saga.pk, on_conflict, actor)
    except LockTaken:
        # Also of a caller that catches this: no saga is ever stored without its locks.
        transaction.set_rollback(True)
        raise
    failpoints.commits_later("start", compiled.name)
    transaction.on_commit(hint, robust=True)
    if in_line:
        saga.refresh_from_db()
    return saga


def start_many(
    plan: type[Saga[D]], items: Iterable[tuple[str, D]], *, actor: str = "engine"
) -> list[Started | Rejected]:
    """Start ``plan`` for each ``(key, data)``, in a handful of statements for all; one result each, in order.

    As `start` for each, but one that needs what another saga holds, or what an earlier one of the batch asks for,
    is rejected by itself, and the rest is started. Start a rejected one again later: what it needed may be free, since
    the earlier one may have been rejected as well. Of two with one key the first counts. Call it inside
    `transaction.atomic()`.
    """
    compiled = plan.plan
    wanted: dict[str, D] = {}
    for key, data in items:
        wanted.setdefault(key, data)
    new = _insert(compiled, list(wanted.items()), OnConflict.REJECT, PATIENCE, None, actor)
    rejected = _take_many(compiled, wanted, new)
    old = SagaInstance.objects.filter(definition=compiled.name, business_key__in=set(wanted) - set(new))
    known = dict(old.values_list("business_key", "pk")) if len(new) < len(wanted) else {}
    if new:
        transaction.on_commit(hint, robust=True)
    return [
        Rejected(key) if key in rejected else Started(key, new[key].pk if key in new else known[key], key in new)
        for key in wanted
    ]


def _insert(
    plan: Plan,
    items: Sequence[tuple[str, Any]],
    on_conflict: OnConflict,
    patience: timedelta,
    caused_by: SagaInstance | None,
    actor: str,
) -> dict[str, SagaInstance]:
    """Store the sagas that are not there yet; returns those by key."""
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(
            "Start a saga inside `transaction.atomic()`, with the row that it is about: both are stored, or neither."
        )
    rows: dict[str, dict[str, Any]] = {}
    for key, data in items:
        stored = to_json(data)
        from_json(plan.data_type, stored)
        rows[key] = {"id": uuid_utils.uuid7(), "key": key, "data": stored}
    if plan.awaits:
        for key in sorted(rows):
            hold_back_starts(plan.name, key)
    parameters: dict[str, Any] = {
        "definition": plan.name,
        "version": plan.version,
        "deadline": plan.deadline,
        "caused_by": caused_by.pk if caused_by else None,
        "actor": actor,
        "patience": None if on_conflict is OnConflict.REJECT else patience,
        "trace": tracing.traceparent(),
    }
    sql = _START_MANY
    if len(rows) == 1:
        (row,) = rows.values()
        sql, parameters = _START, {**parameters, **row, "data": json.dumps(row["data"])}
    else:
        parameters["sagas"] = json.dumps([{**row, "id": str(row["id"])} for row in rows.values()])
    with prepared.cursor() as cursor:
        cursor.execute(sql, parameters)
        return {
            key: _as_stored(plan, rows[key], times, parameters["caused_by"], parameters["trace"])
            for key, *times in cursor.fetchall()
        }


def _as_stored(
    plan: Plan, row: dict[str, Any], times: Sequence[datetime], caused_by_id: Any, trace: str
) -> SagaInstance:
    """The row that was just written, without reading it again."""
    created_at, deadline_at, blocked_until = times
    columns = _untouched() | {
        "id": row["id"],
        "definition": plan.name,
        "definition_version": plan.version,
        "business_key": row["key"],
        "data": row["data"],
        "status": SagaStatus.PENDING,
        "wake_at": created_at,
        "deadline_at": deadline_at,
        "blocked_until": blocked_until,
        "caused_by_id": caused_by_id,
        "trace": trace,
        "created_at": created_at,
        "updated_at": created_at,
    }
    return SagaInstance.from_db(DEFAULT_DB_ALIAS, list(columns), list(columns.values()))


@cache
def _untouched() -> dict[str, Any]:
    """Each column of a saga, as it is until its first step."""
    return {field.attname: field.get_default() for field in SagaInstance._meta.concrete_fields} | {"edits": 0}


def _take_many(plan: Plan, wanted: dict[str, Any], new: dict[str, SagaInstance]) -> set[str]:
    """Take the locks of a batch of new sagas; those that do not get all of theirs go again. Returns their keys."""
    if not plan.locks:
        return set()
    # Two locks of a saga may be of one resource.
    resources = {key: set(locks.resources(plan, wanted[key])) for key in wanted if key in new}
    needed = [
        {"type": kind, "key": resource, "saga": str(new[key].pk), "nth": nth}
        for nth, (key, own) in enumerate(resources.items())
        for kind, resource in own
    ]
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_MANY, [json.dumps(needed)])
        got = Counter(row[0] for row in cursor.fetchall())
    rejected = {key for key, saga in new.items() if got[saga.pk] < len(resources[key])}
    if rejected:
        SagaInstance.objects.filter(pk__in=[new.pop(key).pk for key in rejected]).delete()
    return rejected


def _take_locks(plan: Plan, data: Any, saga_id: UUID, on_conflict: OnConflict, actor: str) -> bool:
    """Says whether the saga had to get in line."""
    if on_conflict is OnConflict.REJECT:
        locks.take(plan, data, saga_id)
        return False
    # Saga rows are locked before lock rows, here as in a saga that ends.
    if on_conflict is OnConflict.ABORT_HOLDER:
        # By their ids: two that abort the same holders cannot wait for each other.
        for resource, holder_id, since in sorted(locks.held_by_others(plan, data, saga_id), key=itemgetter(1)):
            if (holder := store.lock(holder_id)) is not None and not holder.state.terminal:
                _abort(holder, resource, since, actor)
    blocked_on = locks.take_or_wait(plan, data, saga_id)
    if blocked_on and (saga := store.lock(saga_id)) is not None and saga.plan is not None:
        after = advance(saga.plan, replace(saga.state, blocked_on=blocked_on), saga.now)
        writing.write_one(saga, after, actor=actor, why=f"in line for {blocked_on}")
    return bool(blocked_on)


def _abort(holder: LoadedSaga, resource: tuple[str, str], since: datetime, actor: str) -> None:
    """Ask the holder of a lock to go backward; one that does so already is let be."""
    if holder.plan is not None and not holder.state.backward:
        try:
            ask_back(holder, "cancelled", f"another saga needs {' '.join(resource)}", actor)
        except NotAllowed as error:
            raise LockTaken(*resource, holder.definition, holder.key, since) from error


def ask_back(saga: LoadedSaga, code: str, why: str, actor: str) -> None:
    """Turn a locked saga back and write that down. Raises `NotAllowed` past its pivot."""
    assert saga.plan is not None
    writing.write_one(saga, machine.turn_back(saga.plan, saga.state, code, why, saga.now), actor=actor, why=why)
