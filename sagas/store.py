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
    id, definition, definition_version, business_key, data::text, version, stalls, statement_timestamp(),
    status, backward, pivot_passed, generation, deadline_at, wake_at, waiting_on::text, suspend_reason, attention,
    failure::text
"""

# statement_timestamp() is stable, so that the partial index on wake_at serves it.
_CLAIM = f"""
    SELECT {_SAGA_COLUMNS} FROM sagas_sagainstance
    WHERE wake_at <= statement_timestamp() ORDER BY wake_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - made of constants
_READ = f"SELECT {_SAGA_COLUMNS} FROM sagas_sagainstance WHERE id = %s"  # noqa: S608
_LOCK = f"{_READ} FOR UPDATE"
_LOCK_IF_FREE = f"{_LOCK} SKIP LOCKED"

# A statement of its own, after the lock: its snapshot sees what the last holder of the lock committed.
_STEPS = """
    SELECT position, name, kind, action, compensation, action_attempts, compensation_attempts, failures, token, due_at,
           receipt::text, error
    FROM sagas_sagastep WHERE saga_id = %s ORDER BY position
"""

_WRITE = """
    WITH saga AS (
        UPDATE sagas_sagainstance SET
            status = %(status)s, backward = %(backward)s, pivot_passed = %(pivot_passed)s,
            generation = %(generation)s, wake_at = %(wake_at)s, waiting_on = %(waiting_on)s,
            suspend_reason = %(suspend_reason)s, attention = %(attention)s, failure = %(failure)s, stalls = 0,
            version = version + 1, updated_at = clock_timestamp(),
            ended_at = CASE WHEN %(terminal)s THEN clock_timestamp() END
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
    ), locks AS (
        DELETE FROM sagas_semanticlock USING saga WHERE saga_id = saga.id AND %(terminal)s
    )
    SELECT 1 FROM saga
"""


def claim() -> LoadedSaga | None:
    """Lock the saga that has been due the longest and that nobody else is at; None when there is none."""
    return _load(_CLAIM, [])


def lock(saga_id: UUID, *, wait: bool = True) -> LoadedSaga | None:
    """Lock one saga; None when there is none, or when somebody else is at it and ``wait`` is False."""
    return _load(_LOCK if wait else _LOCK_IF_FREE, [saga_id])


def read(saga_id: UUID) -> LoadedSaga | None:
    """One saga without locking it: to show it, never to write it."""
    return _load(_READ, [saga_id])


_BUFFERED = """
    SELECT DISTINCT name FROM sagas_signal
    WHERE definition = %s AND business_key = %s AND consumed_at IS NULL AND late = ''
"""


def _load(sql: str, parameters: list[Any]) -> LoadedSaga | None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
        if row is None:
            return None
        saga_id, definition, definition_version, key, data, version, stalls, now, *rest = row
        cursor.execute(_STEPS, [saga_id])
        step_rows = cursor.fetchall()
        plan = plan_for(definition, definition_version, step_rows)
        signals: frozenset[str] = frozenset()
        if plan is not None and plan.awaits:
            cursor.execute(_BUFFERED, [definition, key])
            signals = frozenset(name for (name,) in cursor.fetchall())
    return LoadedSaga(
        id=saga_id,
        definition=definition,
        definition_version=definition_version,
        key=key,
        json_data=json.loads(data),
        version=version,
        stalls=stalls,
        now=now,
        plan=plan,
        state=replace(_state(plan, rest, step_rows), signals=signals),
    )


def plan_for(definition: str, version: int, touched: list[tuple[Any, ...]]) -> Plan | None:
    """The plan that may carry a saga on: its own version, or a newer one that starts with the same steps.

    ``touched`` are the rows of the steps that already have a state: (position, name, kind, ...).
    """
    plan = registry.get((definition, version)) or newest(definition)
    if plan is None:
        return None
    names = {step.position: (step.name, str(step.kind)) for step in plan.steps}
    return plan if all(names.get(row[0]) == (row[1], row[2]) for row in touched) else None


def _state(plan: Plan | None, row: list[Any], step_rows: list[tuple[Any, ...]]) -> SagaState:
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
            receipt=json.loads(receipt) if receipt else None,
            error=error,
        )
    status, backward, pivot_passed, generation, deadline_at, wake_at, waiting_on, reason, attention, failure = row
    return SagaState(
        steps=tuple(steps),
        status=SagaStatus(status),
        backward=backward,
        pivot_passed=pivot_passed,
        generation=generation,
        deadline_at=deadline_at,
        wake_at=wake_at,
        waiting_on=json.loads(waiting_on) if waiting_on else None,
        suspend_reason=SuspendReason(reason) if reason else None,
        attention=attention,
        failure=json.loads(failure) if failure else None,
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
    return replace(saga, state=after, version=saga.version + 1, stalls=0)


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
