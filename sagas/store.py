"""Sagas in PostgreSQL: locked and loaded as values, written back as one statement.

The bookkeeping of one step is one round trip: saga, steps, attempts, events and locks change
together or not at all, and only if the saga is still at the version that was loaded.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from sagas import locks
from sagas.codec import from_json
from sagas.definition import newest, registry
from sagas.plan import Plan
from sagas.snapshot import SagaState, StepState, changes, untouched
from sagas.states import ActionStatus, CompensationStatus, SagaStatus, SuspendReason


class Fenced(Exception):
    """Somebody else moved the saga on; whatever was to be written is void."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of `StepAttempt`; written a second time with the same number, it is ended."""

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


@dataclass(frozen=True, slots=True)
class LoadedSaga:
    """A saga whose row this transaction has locked. ``now`` is the database's clock at the lock."""

    id: UUID
    definition: str
    definition_version: int
    key: str
    json_data: Any
    version: int
    stalls: int
    state: SagaState
    now: datetime
    plan: Plan | None

    @property
    def data(self) -> Any:
        assert self.plan is not None
        return from_json(self.plan.data_type, self.json_data)


_SAGA_COLUMNS = """
    id, definition, definition_version, business_key, data::text AS data, version, stalls,
    statement_timestamp() AS now, status, backward, pivot_passed, generation, deadline_at, wake_at,
    waiting_on::text AS waiting_on, suspend_reason, attention, failure::text AS failure, blocked_on, blocked_until
"""

# Until the end of the transaction its writes are those of this saga: see `sagas_refuse_unless_holder`.
_AS_HOLDER = f"{_SAGA_COLUMNS}, set_config('sagas.holder', id::text, true)"

# statement_timestamp() is stable, so that the partial index on wake_at serves it.
_CLAIM = f"""
    SELECT {_AS_HOLDER} FROM sagas_sagainstance
    WHERE wake_at <= statement_timestamp() ORDER BY wake_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - made of constants
_TAKE_UP = f"SELECT {_AS_HOLDER} FROM sagas_sagainstance WHERE id = %s FOR UPDATE"  # noqa: S608
_TAKE_UP_IF_FREE = f"{_TAKE_UP} SKIP LOCKED"
_READ = f"SELECT {_SAGA_COLUMNS} FROM sagas_sagainstance WHERE id = %s"  # noqa: S608
_LOCK = f"{_READ} FOR UPDATE"
_LOCK_NAMED = f"""
    SELECT {_SAGA_COLUMNS} FROM sagas_sagainstance WHERE definition = %s AND business_key = %s FOR UPDATE
"""  # noqa: S608

# A statement of its own, after the lock: its snapshot sees what the last holder of the lock committed.
_STEPS = """
    SELECT position, name, kind, action, compensation, action_attempts, compensation_attempts, failures, token, due_at,
           receipt::text, error
    FROM sagas_sagastep WHERE saga_id = %s ORDER BY position
"""

_BUFFERED = """
    SELECT DISTINCT name FROM sagas_signal
    WHERE definition = %s AND business_key = %s AND consumed_at IS NULL AND late = ''
"""

_WRITE = """
    WITH saga AS (
        UPDATE sagas_sagainstance SET
            status = %(status)s, backward = %(backward)s, pivot_passed = %(pivot_passed)s,
            generation = %(generation)s, wake_at = %(wake_at)s, waiting_on = %(waiting_on)s,
            suspend_reason = %(suspend_reason)s, attention = %(attention)s, failure = %(failure)s, stalls = 0,
            blocked_on = %(blocked_on)s, blocked_until = %(blocked_until)s,
            version = version + 1, updated_at = clock_timestamp(),
            ended_at = CASE WHEN %(terminal)s THEN coalesce(ended_at, clock_timestamp()) END
        WHERE id = %(id)s AND version = %(version)s
        RETURNING id, generation
    ), steps AS (
        INSERT INTO sagas_sagastep (saga_id, position, name, kind, action, compensation, action_attempts,
            compensation_attempts, failures, token, due_at, receipt, error, updated_at)
        SELECT saga.id, s.position, s.name, s.kind, s.action, s.compensation, s.action_attempts,
            s.compensation_attempts, s.failures, s.token, s.due_at, s.receipt, s.error, clock_timestamp()
        FROM saga, jsonb_to_recordset(%(steps)s::jsonb) AS s(position int, name text, kind text, action text,
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
        SELECT saga.id, a.position, a.side, a.number, a.step, a.generation, a.worker, a.idempotency_key,
            a.started_at, a.ended_at, a.outcome, a.error_class, a.fingerprint, a.message, a.traceback
        FROM saga, jsonb_to_recordset(%(attempts)s::jsonb) AS a(position int, side text, number int, step text,
            generation int, worker text, idempotency_key text, started_at timestamptz, ended_at timestamptz,
            outcome text, error_class text, fingerprint text, message text, traceback text)
        ON CONFLICT (saga_id, position, side, number) DO UPDATE SET ended_at = excluded.ended_at,
            outcome = excluded.outcome, error_class = excluded.error_class, fingerprint = excluded.fingerprint,
            message = excluded.message, traceback = excluded.traceback
    ), events AS (
        INSERT INTO sagas_sagaevent (saga_id, step, what, before, after, actor, why, generation, at)
        SELECT saga.id, e.step, e.what, e.before, e.after, %(actor)s, %(why)s, saga.generation, clock_timestamp()
        FROM saga, jsonb_to_recordset(%(events)s::jsonb) AS e(step text, what text, before text, after text)
    )
    SELECT 1 FROM saga
"""


def claim() -> LoadedSaga | None:
    """Take up the saga that has been due the longest and that nobody else is at; None when there is none."""
    return _load(_CLAIM, [])


def take_up(saga_id: UUID, *, wait: bool = True) -> LoadedSaga | None:
    """Lock one saga to act for it: what this transaction writes from now on, it writes as the holder of its locks.

    None when there is no such saga, or when somebody else is at it and ``wait`` is False.
    """
    return _load(_TAKE_UP if wait else _TAKE_UP_IF_FREE, [saga_id])


def lock(saga_id: UUID) -> LoadedSaga | None:
    """Lock one saga to change its course; None when there is none."""
    return _load(_LOCK, [saga_id])


def lock_named(definition: str, key: str) -> LoadedSaga | None:
    """Lock the saga of one definition for one business key, waiting for whoever is at it."""
    return _load(_LOCK_NAMED, [definition, key])


def read(saga_id: UUID) -> LoadedSaga | None:
    """One saga without locking it: to show it, never to write it."""
    return _load(_READ, [saga_id])


def _load(sql: str, parameters: list[Any]) -> LoadedSaga | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        values = cursor.fetchone()
        if values is None:
            return None
        row = {column.name: value for column, value in zip(cursor.description, values, strict=True)}
        cursor.execute(_STEPS, [row["id"]])
        step_rows = cursor.fetchall()
        plan = plan_for(row["definition"], row["definition_version"], step_rows)
        signals: frozenset[str] = frozenset()
        if plan is not None and plan.awaits:
            cursor.execute(_BUFFERED, [row["definition"], row["business_key"]])
            signals = frozenset(name for (name,) in cursor.fetchall())
    return LoadedSaga(
        id=row["id"],
        definition=row["definition"],
        definition_version=row["definition_version"],
        key=row["business_key"],
        json_data=json.loads(row["data"]),
        version=row["version"],
        stalls=row["stalls"],
        now=row["now"],
        plan=plan,
        state=_state(plan, row, step_rows, signals),
    )


def plan_for(definition: str, version: int, touched: list[tuple[Any, ...]]) -> Plan | None:
    """The plan that may carry a saga on: its own version, or a newer one that starts with the same steps.

    ``touched`` are the rows of the steps that already have a state: (position, name, kind, ...).
    """
    plan = registry.get((definition, version)) or newest(definition)
    if plan is None or plan.version < version:
        return None
    names = {step.position: (step.name, str(step.kind)) for step in plan.steps}
    if any(names.get(row[0]) != (row[1], row[2]) for row in touched):
        return None
    positions = {row[0] for row in touched}
    reached = max((step.place for step in plan.steps if step.position in positions), default=0)
    left_out = [s for s in plan.steps if s.place < reached and s.position not in positions and not s.begins]
    return None if left_out else plan


def _state(
    plan: Plan | None, row: dict[str, Any], step_rows: list[tuple[Any, ...]], signals: frozenset[str]
) -> SagaState:
    steps = list(untouched(plan)) if plan else []
    for position, _, _, action, compensation, actions, compensations, failures, token, due_at, receipt, error in (
        step_rows if plan else []
    ):
        steps[position] = StepState(
            action=ActionStatus(action),
            compensation=CompensationStatus(compensation),
            action_attempts=actions,
            compensation_attempts=compensations,
            failures=failures,
            token=token,
            due_at=due_at,
            receipt=_parsed(receipt),
            error=error,
        )
    return SagaState(
        steps=tuple(steps),
        status=SagaStatus(row["status"]),
        backward=row["backward"],
        pivot_passed=row["pivot_passed"],
        generation=row["generation"],
        deadline_at=row["deadline_at"],
        wake_at=row["wake_at"],
        waiting_on=_parsed(row["waiting_on"]),
        suspend_reason=SuspendReason(row["suspend_reason"]) if row["suspend_reason"] else None,
        attention=row["attention"],
        failure=_parsed(row["failure"]),
        blocked_on=row["blocked_on"],
        blocked_until=row["blocked_until"],
        signals=signals,
    )


def write(saga: LoadedSaga, after: SagaState, *attempts: Attempt, actor: str = "engine", why: str = "") -> LoadedSaga:
    """Store what changed between ``saga.state`` and ``after``, with one event for each status.

    Raises `IllegalMove` for a change the table of moves does not know, and `Fenced` if the saga
    is no longer at the version that was loaded.
    """
    parameters: dict[str, Any] = {
        "id": saga.id,
        "version": saga.version,
        "status": after.status,
        "backward": after.backward,
        "pivot_passed": after.pivot_passed,
        "generation": after.generation,
        "wake_at": after.wake_at,
        "waiting_on": _json(after.waiting_on),
        "suspend_reason": after.suspend_reason or "",
        "attention": after.attention,
        "failure": _json(after.failure),
        "blocked_on": after.blocked_on,
        "blocked_until": after.blocked_until,
        "terminal": after.terminal,
        "steps": json.dumps(_changed_steps(saga, after)),
        "attempts": json.dumps([asdict(attempt) for attempt in attempts], default=str),
        "events": json.dumps([asdict(change) for change in changes(saga.plan, saga.state, after)]),
        "actor": actor,
        "why": why,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, parameters)
        if cursor.fetchone() is None:
            raise Fenced(f"saga {saga.id} is no longer at version {saga.version}")
    if after.terminal:
        locks.release(saga.id)
    elif given_back := _given_back(saga, after):
        locks.release(saga.id, given_back)
    return replace(saga, state=after, version=saga.version + 1, stalls=0)


def _given_back(saga: LoadedSaga, after: SagaState) -> list[str]:
    """The locks that the plan lets go of after a step that was just done."""
    done = (
        []
        if saga.plan is None
        else [
            step.spec.action
            for step in saga.plan.steps
            if after.steps[step.position].action is ActionStatus.SUCCEEDED
            and saga.state.steps[step.position].action is not ActionStatus.SUCCEEDED
        ]
    )
    return [
        f"{lock.resource_type} {lock.resource_id(saga.data)}"
        for lock in (saga.plan.locks if saga.plan else ())
        if lock.release_after in done
    ]


def _changed_steps(saga: LoadedSaga, after: SagaState) -> list[dict[str, Any]]:
    return [
        {
            "position": step.position,
            "name": step.name,
            "kind": step.kind,
            **{f.name: getattr(after.steps[step.position], f.name) for f in fields(StepState) if f.name != "due_at"},
            "due_at": _iso(after.steps[step.position].due_at),
        }
        for step in (saga.plan.steps if saga.plan else ())
        if after.steps[step.position] != saga.state.steps[step.position]
    ]


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def count_stall(saga: LoadedSaga, wake_at: datetime) -> None:
    """Count one more time that a saga was taken up late, and look again at ``wake_at``."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_sagainstance SET stalls = stalls + 1, wake_at = %s WHERE id = %s", [wake_at, saga.id]
        )
