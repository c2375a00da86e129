"""Sagas in PostgreSQL, locked and loaded as values; `writing` stores what becomes of them."""

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from sagas import prepared
from sagas.codec import from_json
from sagas.definition import newest, registry
from sagas.plan import Plan
from sagas.sharing import Opening
from sagas.snapshot import SagaState, StepState, untouched
from sagas.states import ActionStatus, CompensationStatus, SagaStatus, SuspendReason


class LoadedSaga(msgspec.Struct, frozen=True):
    """A saga whose row this transaction has locked. ``now`` is the database's clock at the lock.

    ``read_at`` is the time of this process (`monotonic`) when it heard of that.
    """

    id: UUID
    definition: str
    definition_version: int
    key: str
    json_data: Any
    version: int
    edits: int
    stalls: int
    state: SagaState
    now: datetime
    trace: str
    plan: Plan | None
    # Whether it has a lock or a place in a line, maybe of an older plan.
    bound: bool
    read_at: float = msgspec.field(default_factory=monotonic)

    @property
    def data(self) -> Any:
        assert self.plan is not None
        return from_json(self.plan.data_type, self.json_data)

    @property
    def holder(self) -> UUID | None:
        """Whose locks it may write past: None if it has none, and its plan takes none."""
        return self.id if self.bound or self.plan is None or self.plan.locks else None


_SAGA_COLUMNS = """
    id, definition, definition_version, business_key, data::text AS data, version, edits, stalls,
    statement_timestamp() AS now, status, backward, pivot_passed, generation, deadline_at, wake_at,
    waiting_on::text AS waiting_on, suspend_reason, attention, failure::text AS failure, blocked_on, blocked_until,
    trace, EXISTS (SELECT FROM sagas_semanticlock WHERE saga_id = sagas_sagainstance.id)
        OR EXISTS (SELECT FROM sagas_lockwaiter WHERE saga_id = sagas_sagainstance.id)
        OR version <> (SELECT seen.version FROM sagas_sagainstance seen WHERE seen.id = sagas_sagainstance.id) AS bound
"""
# The last line: whoever had the row while we waited for it may have taken a lock that this statement's snapshot lacks.
_NAMES = [column.split()[-1] for column in _SAGA_COLUMNS.split(",")]

# Until the end of the transaction its writes are those of this saga: see `sagas_refuse_unless_holder`.
_AS_HOLDER = "set_config('sagas.holder', id::text, true)"

# NO KEY: rows that refer to a saga, as a lock that is handed to it, are committed without waiting for who is at it,
# who may be waiting for that lock.
# statement_timestamp() is stable, so that the partial index on wake_at serves it.
_CLAIM = f"""
    SELECT {_SAGA_COLUMNS} FROM sagas_sagainstance
    WHERE wake_at <= statement_timestamp() ORDER BY wake_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""  # noqa: S608 - made of constants
_TAKE_UP = f"SELECT {_SAGA_COLUMNS}, {_AS_HOLDER} FROM sagas_sagainstance WHERE id = ANY(%(ids)s) FOR NO KEY UPDATE"  # noqa: S608
_TAKE_UP_IF_FREE = f"{_TAKE_UP} SKIP LOCKED"
# Of sagas known from their last commit: those that nobody has moved on since, or is at now.
_TAKE_UP_AGAIN = """
    SELECT id, version, statement_timestamp() FROM sagas_sagainstance
    WHERE id = ANY(%(ids)s) FOR NO KEY UPDATE SKIP LOCKED
"""
_TAKE_UP_ONE_AGAIN = "SELECT sagas_take_up_again(%s, %s)"
_READ = f"SELECT {_SAGA_COLUMNS} FROM sagas_sagainstance WHERE id = %s"  # noqa: S608
_LOCK = f"{_READ} FOR NO KEY UPDATE"
_LOCK_NAMED = f"""
    SELECT {_SAGA_COLUMNS} FROM sagas_sagainstance WHERE definition = %s AND business_key = %s FOR NO KEY UPDATE
"""  # noqa: S608

# A statement of its own, after the lock: its snapshot sees what the last holder of the lock committed.
_STEPS = """
    SELECT saga_id, position, name, kind, action, compensation, action_attempts, compensation_attempts, failures, token,
           due_at, receipt::text, error
    FROM sagas_sagastep WHERE saga_id = ANY(%(ids)s) ORDER BY saga_id, position
"""

_BUFFERED = """
    SELECT DISTINCT definition, business_key, name FROM sagas_signal
    WHERE (definition, business_key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
      AND consumed_at IS NULL AND late = ''
"""


def claim(most: int = 1) -> list[LoadedSaga]:
    """Take up the sagas that have been due the longest and that nobody else is at, at most so many."""
    return _load(_CLAIM, [most])


def take_up(*saga_ids: UUID, wait: bool) -> list[LoadedSaga]:
    """Lock sagas to act for them: what this transaction writes from now on, it writes as the holder of their locks.

    Of several it acts for one at a time: see `sharing`. Those that are not there are left out, and
    without ``wait`` those that somebody else is at.
    """
    sql, ids = prepared.by_ids(_TAKE_UP if wait else _TAKE_UP_IF_FREE, saga_ids)
    return _load(sql, {"ids": ids})


def take_up_again(sagas: Sequence[LoadedSaga]) -> list[LoadedSaga]:
    """Take up sagas as their last commit left them; without those that somebody has moved on since, or is at.

    In the order given, whatever that of the rows is: the first has waited the longest.
    """
    known = {saga.id: saga for saga in sagas}
    sql, ids = prepared.by_ids(_TAKE_UP_AGAIN, list(known))
    with prepared.cursor() as cursor:
        cursor.execute(sql, {"ids": ids})
        clocks = {(saga_id, version): now for saga_id, version, now in cursor.fetchall()}
    now = monotonic()
    return [
        replace(saga, now=clocks[at], read_at=now)
        for saga in known.values()
        if (at := (saga.id, saga.version)) in clocks
    ]


def taking_up_again(saga: LoadedSaga) -> Opening:
    """The same for one saga, to go along with the first statement of its step; who is left out is `Gone` there."""
    return Opening((_TAKE_UP_ONE_AGAIN,), (str(saga.id), saga.version), takes_up=True)


def as_of_now(saga: LoadedSaga) -> LoadedSaga:
    """A saga as its last commit left it, at the time it is now by the database's clock."""
    now = monotonic()
    return replace(saga, now=saga.now + timedelta(seconds=now - saga.read_at), read_at=now)


def lock(saga_id: UUID) -> LoadedSaga | None:
    """Lock one saga to change its course; None when there is none."""
    return next(iter(_load(_LOCK, [saga_id])), None)


def lock_named(definition: str, key: str) -> LoadedSaga | None:
    """Lock the saga of one definition for one business key, waiting for whoever is at it."""
    return next(iter(_load(_LOCK_NAMED, [definition, key])), None)


def read(saga_id: UUID) -> LoadedSaga | None:
    """One saga without locking it: to show it, never to write it."""
    return next(iter(_load(_READ, [saga_id])), None)


def _load(sql: str, parameters: list[Any] | dict[str, Any]) -> list[LoadedSaga]:
    with prepared.cursor() as cursor:
        cursor.execute(sql, parameters)
        # Who acts for it reads one column more, which says nothing.
        rows = [dict(zip(_NAMES, values, strict=False)) for values in cursor.fetchall()]
        if not rows:
            return []
        touched: dict[UUID, list[tuple[Any, ...]]] = defaultdict(list)
        # As it was started, a saga has no rows of steps yet.
        if moved := [row["id"] for row in rows if row["version"] > 1]:
            steps_of, ids = prepared.by_ids(_STEPS, moved)
            cursor.execute(steps_of, {"ids": ids})
            for saga_id, *values in cursor.fetchall():
                touched[saga_id].append(tuple(values))
        plans = [plan_for(row["definition"], row["definition_version"], touched[row["id"]]) for row in rows]
        signals = _buffered(cursor, [row for row, plan in zip(rows, plans, strict=True) if plan and plan.awaits])
    return [_loaded(row, plan, touched[row["id"]], signals) for row, plan in zip(rows, plans, strict=True)]


def _buffered(cursor: Any, rows: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """The signals that came for these sagas and are not consumed yet."""
    if not rows:
        return set()
    cursor.execute(_BUFFERED, [[row["definition"] for row in rows], [row["business_key"] for row in rows]])
    return set(cursor.fetchall())


def _loaded(
    row: dict[str, Any], plan: Plan | None, touched: list[tuple[Any, ...]], signals: set[tuple[str, str, str]]
) -> LoadedSaga:
    owner = row["definition"], row["business_key"]
    return LoadedSaga(
        id=row["id"],
        definition=row["definition"],
        definition_version=row["definition_version"],
        key=row["business_key"],
        json_data=json.loads(row["data"]),
        version=row["version"],
        edits=row["edits"],
        stalls=row["stalls"],
        now=row["now"],
        trace=row["trace"],
        plan=plan,
        bound=row["bound"],
        state=_state(plan, row, touched, frozenset(name for *of, name in signals if tuple(of) == owner)),
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


def began_under_newer_code(saga: LoadedSaga) -> bool:
    """Whether this code knows no version of its plan that is as new as the one it began with."""
    plan = newest(saga.definition)
    return plan is None or plan.version < saga.definition_version


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


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)
