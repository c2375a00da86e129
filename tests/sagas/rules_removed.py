"""The engine with one of its rules taken out, in the tests only: what `verify` has to notice."""

import inspect
import sys
import textwrap
from collections.abc import Callable
from types import ModuleType

import pytest

from sagas import advance, attempts, engine, machine, store, turns, writing
from sagas.definition import remote
from sagas.steps import Remote
from tests.sagas import plans

Removal = Callable[[pytest.MonkeyPatch], None]


def rewritten(module: ModuleType, name: str, old: str, new: str) -> Removal:
    """The function with a part of its source replaced, wherever it was imported to."""

    def remove(patch: pytest.MonkeyPatch) -> None:
        original = getattr(module, name)
        source = textwrap.dedent(inspect.getsource(original))
        assert source.count(old) == 1, f"{module.__name__}.{name} no longer says {old!r} once"
        patch.setattr(module, name, original)  # so that it is put back
        exec(compile(source.replace(old, new), str(module.__file__), "exec"), vars(module))
        for other in [m for m_name, m in sys.modules.items() if m_name.startswith("sagas.")]:
            if vars(other).get(name) is original:
                patch.setattr(other, name, vars(module)[name])

    return remove


def without(module: ModuleType, words: str, *names: str) -> Removal:
    """Statements without some of their words."""

    def remove(patch: pytest.MonkeyPatch) -> None:
        for name in names:
            sql = getattr(module, name)
            assert words in sql, f"{module.__name__}.{name} no longer says {words!r}"
            patch.setattr(module, name, sql.replace(words, ""))

    return remove


def both(*removals: Removal) -> Removal:
    def remove(patch: pytest.MonkeyPatch) -> None:
        for removal in removals:
            removal(patch)

    return remove


def replaced(name: str, function: Remote) -> Removal:
    """Another step function in the place of one of `plans`."""
    return lambda patch: patch.setattr(plans, name, function)


def book_flight(ctx: plans.Ctx, request: str) -> plans.Ticket:
    """Does not mind a transaction round it."""
    return plans.Ticket(plans.world.booked.setdefault(ctx.idempotency_key, "flight-0"))


def cancel_flight(ctx: plans.Ctx, receipt: plans.Ticket | None) -> None:
    """Cancels nothing."""


NO_TOKEN_CHECK = rewritten(turns, "record", " or saga.state.steps[position].token != call.token", "")
NO_VERSION_GUARD = without(writing, " AND s.version = m.version", "_WRITE")
NO_LOOK_AT_THE_VERSION_IN_HAND = rewritten(
    store, "take_up_again", "(saga.id, saga.version)) in clocks", "next((k for k in clocks if k[0] == saga.id), None))"
)
ONE_IN_HAND_IS_NOT_TAKEN_UP = rewritten(store, "taking_up_again", "return ", "return Opening() or ")
NO_ROW_LOCK = both(
    without(store, " SKIP LOCKED", "_CLAIM", "_TAKE_UP_IF_FREE", "_TAKE_UP_AGAIN"),
    without(
        store, " FOR NO KEY UPDATE", "_CLAIM", "_TAKE_UP", "_TAKE_UP_IF_FREE", "_TAKE_UP_AGAIN", "_LOCK", "_LOCK_NAMED"
    ),
)
NO_REREAD_AFTER_A_ROLLBACK = rewritten(engine, "_record_raised", " if s.version == raised.saga.version", "")
KEEP_WHAT_WAS_WRITTEN = rewritten(engine, "_share", "sharing.spoiled", "False")
NEW_KEY_EACH_TIME = rewritten(
    attempts,
    "idempotency_key",
    "saga.edits, step.name, side)",
    "saga.edits, step.name, side) + f':{saga.state.steps[step.position].attempts(side)}'",
)
NO_END_OF_A_LEASE = rewritten(machine, "lease_over", "state.due_at <= now", "False")
NO_LEASE = rewritten(attempts, "lease_of", "calls * step.spec.timeout + LEASE_MARGIN", "timedelta(0)")
UNDO_BEFORE_SETTLED = rewritten(
    advance,
    "_active_steps",
    "any(s.in_flight and s.compensation is CompensationStatus.NOT_NEEDED for s in saga.steps)",
    "False",
)
UNKNOWN_IS_FAILED = rewritten(
    machine, "_finish_action", "state.action is ActionStatus.UNKNOWN or not outcome.definite", "False"
)
CALL_BEFORE_INTENT = both(
    rewritten(
        turns,
        "begin",
        "    number = after.steps",
        "    Call(saga.id, step, task, after.generation, lease, ctx, request, due=False).make()\n"
        "    number = after.steps",
    ),
    replaced("book_flight", remote(prepare=plans.note_booking, record=plans.keep_ticket)(book_flight)),
)
EFFECT_AND_PROGRESS_IN_TWO_COMMITS = rewritten(
    turns, "_run", "    return finish(", "    transaction.get_connection().connection.commit()\n    return finish("
)
A_COMPENSATION_THAT_FORGETS_A_WRITE = rewritten(plans, "release_seat", 'take_back(ctx, "seat")', "pass")
A_COMPENSATION_THAT_FORGETS_A_CALL = replaced("cancel_flight", remote(record=plans.drop_ticket)(cancel_flight))
