"""Moves written to PostgreSQL: of one saga or of many, as one statement.

Saga, steps, attempts, events and locks change together or not at all, and only if each saga is still
at the version that was loaded.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection
from msgspec.structs import asdict, replace

from sagas import locks, prepared
from sagas.snapshot import SagaState, changes
from sagas.states import DONE_ACTIONS
from sagas.store import LoadedSaga


class Fenced(Exception):
    """Somebody else moved the saga on; whatever was to be written is void."""


class Attempt(msgspec.Struct, frozen=True):
    """One row of `StepAttempt`; written a second time with the same number, it is ended."""

    saga: UUID
    position: int
    side: str
    number: int
    step: str
    generation: int
    worker: str
    idempotency_key: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str = ""
    error_class: str = ""
    fingerprint: str = ""
    message: str = ""
    traceback: str = ""


class Move(msgspec.Struct, frozen=True):
    """One saga gets from where it was loaded to ``after``, with the attempts that led there."""

    saga: LoadedSaga
    after: SagaState
    attempts: tuple[Attempt, ...] = ()
    actor: str = "engine"
    why: str = ""


Rows = dict[str, list[Any]]

# The ids stand there twice so that the planner knows how few they are.
_WRITE = """
    WITH saga AS (
        UPDATE sagas_sagainstance AS s SET
            status = m.status, backward = m.backward, pivot_passed = m.pivot_passed, generation = m.generation,
            wake_at = m.wake_at, waiting_on = m.waiting_on, suspend_reason = m.suspend_reason,
            attention = m.attention, failure = m.failure, stalls = 0,
            blocked_on = m.blocked_on, blocked_until = m.blocked_until,
            version = s.version + 1, updated_at = clock_timestamp(),
            ended_at = CASE WHEN m.terminal THEN coalesce(s.ended_at, clock_timestamp()) END
        FROM json_to_recordset(%(moves)s::json) AS m(id uuid, version int, status text, backward bool,
            pivot_passed bool, generation int, wake_at timestamptz, waiting_on jsonb, suspend_reason text,
            attention text, failure jsonb, blocked_on text, blocked_until timestamptz, terminal bool, actor text,
            why text)
        WHERE s.id = ANY(%(ids)s) AND s.id = m.id AND s.version = m.version
        RETURNING s.id, s.generation, m.actor, m.why
    ), steps AS (
        INSERT INTO sagas_sagastep (saga_id, position, name, kind, action, compensation, action_attempts,
            compensation_attempts, failures, token, due_at, receipt, error, updated_at)
        SELECT n.saga, n.position, n.name, n.kind, n.action, n.compensation, n.action_attempts,
            n.compensation_attempts, n.failures, n.token, n.due_at, n.receipt, n.error, clock_timestamp()
        FROM json_to_recordset(%(steps)s::json) AS n(saga uuid, position int, name text, kind text, action text,
            compensation text, action_attempts int, compensation_attempts int, failures int, token int,
            due_at timestamptz, receipt jsonb, error text)
        ON CONFLICT (saga_id, position) DO UPDATE SET action = excluded.action,
            compensation = excluded.compensation, action_attempts = excluded.action_attempts,
            compensation_attempts = excluded.compensation_attempts, failures = excluded.failures,
            token = excluded.token, due_at = excluded.due_at, receipt = excluded.receipt, error = excluded.error,
            updated_at = excluded.updated_at
    ), attempts AS (
        INSERT INTO sagas_stepattempt (saga_id, position, side, number, step, generation, worker, idempotency_key,
            started_at, ended_at, outcome, error_class, fingerprint, message, traceback)
        SELECT n.saga, n.position, n.side, n.number, n.step, n.generation, n.worker, n.idempotency_key,
            n.started_at, n.ended_at, n.outcome, n.error_class, n.fingerprint, n.message, n.traceback
        FROM json_to_recordset(%(attempts)s::json) AS n(saga uuid, position int, side text, number int, step text,
            generation int, worker text, idempotency_key text, started_at timestamptz, ended_at timestamptz,
            outcome text, error_class text, fingerprint text, message text, traceback text)
        ON CONFLICT (saga_id, position, side, number) DO UPDATE SET ended_at = excluded.ended_at,
            outcome = excluded.outcome, error_class = excluded.error_class, fingerprint = excluded.fingerprint,
            message = excluded.message, traceback = excluded.traceback
    ), events AS (
        INSERT INTO sagas_sagaevent (saga_id, step, what, before, after, actor, why, generation, at)
        SELECT n.saga, n.step, n.what, n.before, n.after, n.actor, n.why, n.generation, clock_timestamp()
        FROM json_to_recordset(%(events)s::json) AS n(saga uuid, step text, what text, before text, after text,
            actor text, why text, generation int)
    )
    SELECT count(*) FROM saga
"""


def write(moves: Sequence[Move]) -> list[LoadedSaga]:
    """Store what each move changes, with one event for each status. Returns the sagas as they are then.

    Raises `IllegalMove` for a change the table of moves does not know, and `Fenced` if one of the sagas
    is no longer at the version that was loaded; the caller's transaction has to be rolled back then.
    """
    rows: Rows = {"moves": [], "steps": [], "attempts": [], "events": []}
    for move in moves:
        _add(rows, move)
    sql, ids = prepared.by_ids(_WRITE, [move.saga.id for move in moves])
    parameters = {name: msgspec.json.encode(values).decode() for name, values in rows.items()}
    with prepared.cursor() as cursor:
        cursor.execute(sql, {"ids": ids, **parameters})
        if cursor.fetchone() != (len(moves),):
            raise Fenced(f"one of {', '.join(str(move.saga.id) for move in moves)} was moved on by somebody else")
    ended = [m for m in moves if m.after.terminal and m.saga.holder]
    if in_line := [m.saga.id for m in ended if m.after.blocked_on]:
        locks.before_leaving_line(in_line)
    if ended:
        locks.release([m.saga.id for m in ended])
    for move in moves:
        if not move.after.terminal and (given_back := _given_back(move)):
            locks.release([move.saga.id], given_back)
    return [replace(move.saga, state=move.after, version=move.saga.version + 1, stalls=0) for move in moves]


def write_one(saga: LoadedSaga, after: SagaState, *, actor: str, why: str) -> LoadedSaga:
    """`write` for whoever changes the course of one saga."""
    return write([Move(saga, after, (), actor, why)])[0]


def replace_data(saga_id: UUID, data: Any) -> None:
    """Give a saga other data, as an operator edited it: its idempotency keys are new from then on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_sagainstance SET data = %s::jsonb, edits = edits + 1 WHERE id = %s",
            [json.dumps(data), saga_id],
        )


def _add(rows: Rows, move: Move) -> None:
    saga, after, owner = move.saga, move.after, move.saga.id
    rows["moves"].append(
        {
            "id": owner,
            "version": saga.version,
            "status": after.status,
            "backward": after.backward,
            "pivot_passed": after.pivot_passed,
            "generation": after.generation,
            "wake_at": after.wake_at,
            "waiting_on": after.waiting_on,
            "suspend_reason": after.suspend_reason or "",
            "attention": after.attention,
            "failure": after.failure,
            "blocked_on": after.blocked_on,
            "blocked_until": after.blocked_until,
            "terminal": after.terminal,
            "actor": move.actor,
            "why": move.why,
        }
    )
    for step, old, new in zip(saga.plan.steps, saga.state.steps, after.steps, strict=True) if saga.plan else ():
        if new is not old and new != old:
            named = {"saga": owner, "position": step.position, "name": step.name, "kind": step.kind}
            rows["steps"].append({**named, **asdict(new), "receipt": _json(new.receipt)})
    rows["attempts"] += move.attempts
    for change in changes(saga.plan, saga.state, after):
        said = {"actor": move.actor, "why": move.why, "generation": after.generation}
        rows["events"].append({"saga": owner, **asdict(change), **said})


def _given_back(move: Move) -> list[str]:
    """The locks that the plan lets go of after a step that was just done."""
    plan = move.saga.plan
    if plan is None or not any(lock.release_after for lock in plan.locks):
        return []
    before = [p.spec.action for p in plan.steps if move.saga.state.steps[p.position].action in DONE_ACTIONS]
    done = [p.spec.action for p in plan.steps if move.after.steps[p.position].action in DONE_ACTIONS]
    if not any(lock.release_after in done and lock.release_after not in before for lock in plan.locks):
        return []
    # Two locks may be of one resource: it goes with the last of them.
    kept = locks.resources(plan, move.saga.data, done)
    gone = [resource for resource in locks.resources(plan, move.saga.data, before) if resource not in kept]
    return [" ".join(resource) for resource in gone]


def _json(value: Any) -> msgspec.Raw | None:
    """What a step returned. A number that JSON does not have raises `ValueError`, and does not become null."""
    return None if value is None else msgspec.Raw(json.dumps(value, allow_nan=False).encode())


def count_stalls(sagas: Sequence[LoadedSaga], wake_at: datetime) -> None:
    """Count one more time that each saga was taken up late, and look again at ``wake_at``."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_sagainstance SET stalls = stalls + 1, wake_at = %s WHERE id = ANY(%s)",
            [wake_at, [saga.id for saga in sagas]],
        )
