"""Signals: what happened outside and a saga waits for, or will. Inbox first, then any effect.

A signal is stored once, buffered until its saga comes to the step of its name, and consumed once,
in the commit of that step; of several with one name the first comes first.
"""

import json
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from msgspec.structs import replace

from sagas import failpoints, store, writing
from sagas.advance import advance
from sagas.codec import from_json, payload_type, to_json
from sagas.definition import newest
from sagas.exceptions import UnknownSignal
from sagas.jobs import hint
from sagas.plan import Plan, PlannedStep
from sagas.snapshot import SagaState
from sagas.states import SagaStatus
from sagas.steps import LateSignal
from sagas.store import LoadedSaga

_STORE = """
    INSERT INTO sagas_signal (definition, business_key, name, dedup_id, payload, received_at, late)
    VALUES (%s, %s, %s, %s, %s, clock_timestamp(), %s)
    ON CONFLICT (definition, business_key, name, dedup_id) DO NOTHING RETURNING id
"""

_FIRST = """
    SELECT id, payload::text FROM sagas_signal
    WHERE definition = %s AND business_key = %s AND name = %s AND consumed_at IS NULL AND late = ''
    ORDER BY id LIMIT 1
"""


def send(definition: str, key: str, name: str, payload: Any, *, dedup_id: str, actor: str = "outside") -> bool:
    """Store a signal and let its saga go on if it waits for it. Says whether the signal was new.

    A second call with the same ``dedup_id`` changes nothing. There need not be a saga yet: the signal
    is kept for it. Raises `UnknownSignal` if no step of the saga waits for it, and
    `msgspec.ValidationError` naming the field if the payload is not what that step takes. A saga is asked
    under the plan that carries it on; without one, the newest plan is.
    """
    with transaction.atomic():
        saga = _lock_saga(definition, key)
        plan = (saga.plan if saga else None) or newest(definition)
        step = next((s for s in plan.steps if s.awaits and s.name == name), None) if plan else None
        if plan is None or step is None:
            raise UnknownSignal(f"{definition} waits for no signal {name!r}.")
        stored = to_json(from_json(payload_type(step), to_json(payload)))
        late = saga is not None and saga.state.terminal
        with connection.cursor() as cursor:
            row = [definition, key, name, dedup_id, json.dumps(stored), _late_word(plan) if late else ""]
            cursor.execute(_STORE, row)
            if cursor.fetchone() is None:
                return False
        if saga is not None and late:
            _handle_late(plan, saga, name, stored)
        elif saga is not None:
            _move(saga, name, actor)
        failpoints.commits_later("signal", name)
    return True


def hold_back_starts(definition: str, key: str) -> None:
    """Until the end of this transaction no saga of that key starts unseen, and none that starts misses a signal.

    There is no row yet that both could lock, so both lock the words.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{definition} {key}"])


def take(saga: LoadedSaga, step: PlannedStep) -> Any:
    """Consume the first signal of a step's name, in the transaction that holds the saga. Returns its payload."""
    with connection.cursor() as cursor:
        cursor.execute(_FIRST, [saga.definition, saga.key, step.name])
        signal_id, payload = cursor.fetchone()
        cursor.execute("UPDATE sagas_signal SET consumed_at = clock_timestamp() WHERE id = %s", [signal_id])
    return from_json(payload_type(step), json.loads(payload))


def _lock_saga(definition: str, key: str) -> LoadedSaga | None:
    saga = store.lock_named(definition, key)
    if saga is None:
        hold_back_starts(definition, key)
        saga = store.lock_named(definition, key)
    return saga


def _move(saga: LoadedSaga, name: str, actor: str) -> None:
    state = replace(saga.state, signals=saga.state.signals | {name})
    after = advance(saga.plan, state, saga.now) if saga.plan else _woken(state, name, saga.now)
    # Also when it changes nothing yet: who has the saga at hand must not go on without having seen the signal.
    writing.write_one(saga, after, actor=actor, why=f"signal {name}")
    transaction.on_commit(hint, robust=True)


def _woken(state: SagaState, name: str, now: datetime) -> SagaState:
    """The code here has no plan that continues it: whoever takes it up has one, or suspends it.

    Left alone, a saga that only a signal wakes would sleep on when its plan is back.
    """
    wait = state.waiting_on or {}
    if wait.get("kind") not in ("signal", "human") or wait.get("step") != name:
        return state
    return replace(state, status=SagaStatus.RUNNING, waiting_on=None, wake_at=now)


def _late_word(plan: Plan) -> str:
    return str(plan.late_signal) if isinstance(plan.late_signal, LateSignal) else "START"


def _handle_late(plan: Plan, saga: LoadedSaga, name: str, payload: Any) -> None:
    """The saga has ended: the definition says what becomes of the signal; it is never dropped in silence."""
    if plan.late_signal is LateSignal.ATTENTION:
        # A move of the saga: who reviews it by what a page said before does not review this as well.
        said, late = saga.state.attention, f"the signal {name} came after the end"
        attention = said if late in said else "; ".join(filter(None, [said, late]))
        writing.write_one(saga, replace(saga.state, attention=attention), actor="engine", why=late)
    elif not isinstance(plan.late_signal, LateSignal):
        plan.late_signal(saga.key, payload)
