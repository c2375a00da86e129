"""What an operation would come to, found out before anybody confirms it. Nothing of it stays.

`way_back` runs the compensations in a transaction that is rolled back: the real code on the real rows. Calls to
the outside are not made, only listed; what is written round them is run as if they were answered with a yes.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import OperationalError, connection, transaction
from msgspec.structs import replace

from sagas import locks, machine, store, turns
from sagas.codec import result_type
from sagas.exceptions import UnknownSaga
from sagas.operating import plan_of, refusals
from sagas.outcomes import Outcome, OutcomeKind
from sagas.plan import PlannedStep
from sagas.redaction import redact
from sagas.roles import view_permission
from sagas.states import Side
from sagas.steps import Remote, name_of
from sagas.store import LoadedSaga
from sagas.turns import StepRaised, Turn

# A dry run holds the rows that it writes. Shop and workers must hardly notice.
SECONDS = 3.0
_BE_QUICK = "SET LOCAL lock_timeout = '300ms'; SET LOCAL statement_timeout = '2s'; SET LOCAL sagas.dry_run = 'on'"

MAX_VALUE = 200


@dataclass(frozen=True, slots=True)
class Difference:
    column: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row as it is now and as it would be. ``kind``: changed, new or gone; ``permission``: who may see it."""

    table: str
    row: str
    kind: str
    permission: str
    differences: list[Difference]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that would be made: whom, with which idempotency key. Not made here."""

    service: str
    key: str


@dataclass(frozen=True, slots=True)
class Undone:
    """One compensation, in the order of the way back."""

    step: str
    compensation: str
    call: Call | None
    changes: list[RowChange]
    note: str = ""


@dataclass(slots=True)
class WayBack:
    """``stopped`` says why the way back would not get to its end now; empty when it would, as ``ends_as``."""

    undone: list[Undone] = field(default_factory=list)
    assumed_unknown: list[str] = field(default_factory=list)
    locks: list[str] = field(default_factory=list)
    ends_as: str = ""
    stopped: str = ""


def way_back(saga_id: UUID, reader: AbstractBaseUser | AnonymousUser | None = None) -> WayBack:
    """What turning a saga back would do. Raises `OperationRefused` where it cannot be turned back, `UnknownSaga`.

    Rows of tables that ``reader`` may not view are named and not shown; at a terminal nobody in particular reads.
    """
    with rolled_back() as until:
        saga = _take_up(saga_id)
        plan = plan_of(saga)
        state = machine.turn_back(plan, saga.state, "operator", "a dry run", saga.now)
        found = WayBack(locks=locks.held_by(saga_id))
        found.assumed_unknown = [step.name for step in plan.steps if state.steps[step.position].in_flight]
        saga = replace(saga, state=machine.fence(plan, state, saga.now) if found.assumed_unknown else state)
        while not saga.state.terminal and not found.stopped:
            saga = _undo_next(saga, found, until)
        found.ends_as = saga.state.status if saga.state.terminal else ""
    if reader is not None:
        found.undone = [_as_seen_by(reader, undone) for undone in found.undone]
    return found


def _as_seen_by(reader: AbstractBaseUser | AnonymousUser, undone: Undone) -> Undone:
    shown = [change for change in undone.changes if reader.has_perm(change.permission)]  # type: ignore[union-attr]
    if len(shown) == len(undone.changes):
        return undone
    hidden = dict.fromkeys(change.table for change in undone.changes if change not in shown)
    note = f"{undone.note} It changes rows that you may not view: {', '.join(hidden)}.".strip()
    return Undone(undone.step, undone.compensation, undone.call, shown, note)


@contextmanager
def rolled_back() -> Iterator[float]:
    """A short transaction that leaves nothing behind: no row, nothing queued, no mail after its commit.

    Yields the moment at which to stop.
    """
    with refusals(), transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute(_BE_QUICK)
        yield monotonic() + SECONDS
        transaction.set_rollback(True)


def _take_up(saga_id: UUID) -> LoadedSaga:
    sagas = store.take_up(saga_id, wait=True)
    if not sagas:
        raise UnknownSaga(str(saga_id))
    return sagas[0]


def _undo_next(saga: LoadedSaga, found: WayBack, until: float) -> LoadedSaga:
    plan = plan_of(saga)
    if monotonic() > until:
        found.stopped = f"It takes longer than the {SECONDS:g} s that a dry run may."
        return saga
    task = machine.next_task(plan, machine.advance(plan, saga.state, saga.now), saga.now)
    try:
        with transaction.atomic():
            turn, note = _turn(saga)
    except StepRaised as raised:
        step = plan.steps[raised.task.position]
        found.stopped = f"The compensation of {step.name} does not work now: {raised.outcome.message}"
        if isinstance(raised.__cause__, OperationalError):
            found.stopped = f"{step.name} needs a row that somebody else is at right now; load the page again."
        return saga
    if turn.move.after == saga.state:
        found.stopped = "It would stop there: a person or a lock has to come first."
        return saga
    if task is not None:
        found.undone.append(_undone(plan.steps[task.position], turn, note))
    return replace(saga, state=turn.move.after)


def _turn(saga: LoadedSaga) -> tuple[Turn, str]:
    """One turn as a worker takes it, but for the call, which is taken for made and answered."""
    turn = turns.next_turn(saga)
    if turn.call is None:
        return turn, ""
    function = turn.call.step.function(turn.call.task.side)
    assert isinstance(function, Remote)
    foreseen = function.record is None or result_type(function) is type(None)
    begun = replace(saga, state=turn.move.after)
    recorded = turns.record(begun, turn.call, Outcome(OutcomeKind.DONE), hooks=foreseen)
    assert recorded is not None
    note = "" if foreseen else "What its answer changes cannot be foreseen."
    return Turn(recorded.move, turn.call), note


def _undone(step: PlannedStep, turn: Turn, note: str) -> Undone:
    function = step.function(Side.COMPENSATION)
    assert function is not None
    call = None
    if turn.call is not None and isinstance(function, Remote):
        call = Call(function.service, turn.call.ctx.idempotency_key)
    return Undone(step.name, name_of(function), call, _changes(), note)


# --- what changed ---------------------------------------------------------------------------------


def _changes() -> list[RowChange]:
    """What was written since the last look, as the triggers of `sagas_note_change` saw it; each row once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('sagas.changes', true), set_config('sagas.changes', '', true)")
        noted = cursor.fetchone()[0] or ""
    rows: dict[tuple[str, str], tuple[Any, Any]] = {}
    for table, key, before, after in map(json.loads, filter(None, noted.split("\n"))):
        first = rows[table, key][0] if (table, key) in rows else before
        rows[table, key] = first, after
    changed = (_row_change(table, key, before, after) for (table, key), (before, after) in rows.items())
    return [change for change in changed if change.differences]


def _row_change(table: str, key: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> RowChange:
    kind = "new" if before is None else "gone" if after is None else "changed"
    old, new = before or {}, after or {}
    columns = [name for name in {**old, **new} if old.get(name) != new.get(name) and name != "updated_at"]
    differences = [Difference(name, _words(old.get(name)), _words(new.get(name))) for name in columns]
    model = next((m for m in apps.get_models() if m._meta.db_table == table and not m._meta.proxy), None)
    words = str(model._meta.verbose_name) if model else table
    permission = view_permission(model) if model else ""
    return RowChange(words, _row_words(key, old or new), kind, permission, differences)


def _words(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return redact(text)[:MAX_VALUE]


def _row_words(key: str, row: dict[str, Any]) -> str:
    """A row by the name that people know it by, where it has one."""
    named = next((str(row[name]) for name in ("number", "reference", "sku") if row.get(name)), "")
    return named or key
