"""Commits: the only place that claims sagas, gives them their turn and stores where it led.

A local step is one commit: its effect and the saga's progress stand or fall together. A remote step
takes two: `work` records the attempt and returns the `Call`; whoever makes it gives the outcome to
`record`. Sagas that are due at the same time share commits (`work_together`, `record_together`), in which
each is kept apart from the others: what one of them cannot do is done without it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from time import monotonic
from uuid import UUID

from django.db import InternalError, OperationalError, connection, transaction
from msgspec.structs import replace

from sagas import failpoints, store, turns, writing
from sagas.attempts import Call
from sagas.outcomes import Outcome, OutcomeKind
from sagas.redaction import words_of
from sagas.sharing import Gone, Opening, Sharing, acting_for
from sagas.states import SuspendReason
from sagas.store import LoadedSaga
from sagas.turns import WEATHER, StepRaised, Turn

logger = logging.getLogger(__name__)

# A saga still due after this long, though workers look all the time, may be one that kills them.
LATE = timedelta(seconds=5)
MAX_STALLS = 5

# A commit is not shared for longer than this: whoever has not had its turn by then gets the next one.
SHARED_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Moved:
    """A saga got one step further. ``due`` says whether it can go on at once, ``saga`` from where.

    Without ``saga`` it has to be loaded, and goes on by itself.
    """

    saga_id: UUID
    due: bool
    saga: LoadedSaga | None = field(default=None, compare=False, repr=False)


Answer = tuple[Call, Outcome]


@contextmanager
def _commit() -> Iterator[None]:
    """One commit of the engine's own: a step cannot be part of another, or commit by itself."""
    try:
        with failpoints.committing(transaction.atomic(durable=True)):
            yield
            if callbacks := connection.run_on_commit:
                connection.run_on_commit = [(of[0], _harmless(of[1]), *of[2:]) for of in callbacks]
    except InternalError as error:
        if turns.session_ended(error):
            raise OperationalError(str(error)) from error
        raise


def _harmless(callback: Callable[[], object]) -> Callable[[], None]:
    """What a step left for after its commit cannot undo it, nor keep the calls and callbacks of others from theirs."""

    def run() -> None:
        try:
            callback()
        except Exception:
            logger.exception("what a step left for after its commit failed")

    return run


# --- work: the next thing for one saga, or for several in one commit --------------------------------


def work(saga_id: UUID | None = None) -> Moved | Call | None:
    """Do the next thing for one saga: the given one, or the one that has been due the longest.

    Returns None when there is nothing to do or somebody else is at it, a `Call` to be made
    outside any transaction and then handed to `record`, or how the saga moved.
    Raises `WEATHER` when it is unknown whether the commit happened; call again, the rows know.
    """
    if saga_id is None:
        return next(iter(work_together(1)), None)
    return next(iter(_work(lambda: store.take_up(saga_id, wait=False))), None)


def work_together(most: int, at_hand: Sequence[LoadedSaga] = ()) -> list[Moved | Call]:
    """As `work`, in one commit for all ``at_hand``, or for the ``most`` that have been due the longest.

    What cannot be shared, as a long wait for a row or a write that is refused, is left for `work`: such
    a saga comes back due and without its ``saga``.
    """
    if len(at_hand) == 1:
        return _work(lambda: [store.as_of_now(at_hand[0])], opening=store.taking_up_again(at_hand[0]))
    if at_hand:
        return _work(lambda: store.take_up_again(at_hand))
    return _work(lambda: store.claim(most), claimed=True)


def _work(
    take_up: Callable[[], list[LoadedSaga]], *, claimed: bool = False, opening: Opening | None = None
) -> list[Moved | Call]:
    """``opening`` is what takes up a saga that ``take_up`` only knows from before."""
    sagas: list[LoadedSaga] = []
    failpoints.point("work", "entry")
    try:
        with _commit():
            sagas = [saga for saga in take_up() if not saga.state.terminal]
            if claimed and (late := [saga for saga in sagas if _is_late(saga)]):
                return _count_stalls(late)
            return _share(sagas, opening)
    except Gone:
        return []
    except StepRaised as raised:
        return _apart(sagas) if len(sagas) > 1 else _record_raised(raised)
    except WEATHER:
        if len(sagas) > 1:
            return _apart(sagas)
        raise
    except Exception as error:
        if len(sagas) > 1:
            return _apart(sagas)
        if not sagas:
            raise
        return _set_aside(sagas[0].id, error)


def _share(sagas: Sequence[LoadedSaga], opening: Opening | None) -> list[Moved | Call]:
    """Give each its turn, kept apart from the others, and store them all. Who comes late has it in the next commit."""
    until = monotonic() + SHARED_SECONDS
    taken: list[Turn] = []
    left: list[Moved | Call] = []
    with Sharing(alone=(opening or acting_for(sagas[0].holder)) if len(sagas) == 1 else None) as sharing:
        for saga in sagas:
            if (taken or left) and monotonic() > until:
                left.append(Moved(saga.id, due=True, saga=saga))
                continue
            try:
                taken.append(sharing.act(saga.holder, partial(turns.next_turn, saga)))
            except StepRaised as raised:
                if sharing.spoiled:
                    raise
                if raised.outcome.code == turns.DATABASE and not sharing.alone:
                    left.append(Moved(saga.id, due=True))
                    # Whoever has what it waited for may be waiting for what we have.
                    until = monotonic()
                else:
                    taken.append(turns.after_raising(saga, raised))
    # Who was left goes first: it has waited longer than who can go on.
    return [*left, *_store(taken)]


def _apart(sagas: Sequence[LoadedSaga]) -> list[Moved | Call]:
    logger.warning("%s sagas cannot share a commit and go on one by one", len(sagas), exc_info=True)
    return [Moved(saga.id, due=True) for saga in sagas]


def _record_raised(raised: StepRaised) -> list[Moved | Call]:
    """The commit for what a step leaves behind that was rolled back with its own: the attempt, and where it leads."""
    try:
        with _commit():
            failpoints.enter("failure")
            sagas = store.take_up(raised.saga.id, wait=True)
            return _store([turns.after_raising(s, raised) for s in sagas if s.version == raised.saga.version])
    except WEATHER:
        raise
    except Exception as error:
        return _set_aside(raised.saga.id, error)


def _set_aside(saga_id: UUID, error: Exception) -> list[Moved | Call]:
    """One bad saga never stops the others: what the rows refuse, such as a constraint, waits for a person."""
    logger.exception("saga %s cannot go on", saga_id, exc_info=error)
    with _commit():
        sagas = [saga for saga in store.take_up(saga_id, wait=True) if not saga.state.terminal]
        return _store([turns.suspend(saga, SuspendReason.CONTRACT_VIOLATION, words_of(error)) for saga in sagas])


# --- record: what came of a call ------------------------------------------------------------------


def record(call: Call, outcome: Outcome) -> Moved | None:
    """The commit after the call: what came of it. None when the attempt is no longer the current one.

    A second call changes nothing, so repeat it after `WEATHER`.
    """
    try:
        try:
            return next(iter(_record(call, outcome, hooks=True)), None)
        except StepRaised as raised:
            # The call was made, but its result could not be written down: nobody knows, so ask again.
            in_doubt = replace(raised.outcome, kind=OutcomeKind.BUG, definite=False)
            return next(iter(_record(call, in_doubt, hooks=False)), None)
    except WEATHER:
        raise
    except Exception as error:
        return next(iter(_moved(_set_aside(call.saga_id, error))), None)


def _record(call: Call, outcome: Outcome, *, hooks: bool) -> list[Moved]:
    with _commit():
        found = [turns.record(saga, call, outcome, hooks=hooks) for saga in store.take_up(call.saga_id, wait=True)]
        return _moved(_store([turn for turn in found if turn is not None]))


def record_together(answers: Sequence[Answer]) -> tuple[list[Moved], list[Answer]]:
    """As `record`, in one commit for the answers of different sagas.

    Returns how they moved, and the answers that `record` has to be called with: somebody else is at their
    saga, or something of them all could not be written.
    """
    try:
        with _commit():
            sagas = {saga.id: saga for saga in store.take_up(*(call.saga_id for call, _ in answers), wait=False)}
            taken = []
            with Sharing() as sharing:
                for call, outcome in answers:
                    if saga := sagas.get(call.saga_id):
                        turn = partial(turns.record, saga, call, outcome, hooks=True)
                        taken.append(sharing.act(saga.holder, turn))
            moved = _moved(_store([turn for turn in taken if turn is not None]))
        return moved, [(call, outcome) for call, outcome in answers if call.saga_id not in sagas]
    except Exception:
        logger.warning("%s answers cannot share a commit", len(answers), exc_info=True)
        return [], list(answers)


# --- what kills workers ---------------------------------------------------------------------------


def _is_late(saga: LoadedSaga) -> bool:
    wake_at = saga.state.wake_at
    return wake_at is not None and (saga.stalls > 0 or wake_at < saga.now - LATE)


def _count_stalls(late: Sequence[LoadedSaga]) -> list[Moved | Call]:
    """Count that sagas are taken up late before anything runs for them: what kills a worker reports nothing.

    The count is cleared by the next progress. While it grows a saga steps back, so that it does not take
    one worker after the other away from the rest, and goes on by itself, so that it takes no other with it.
    """
    suspect = next((saga for saga in late if saga.stalls), None)
    if suspect is None:
        writing.count_stalls(late, late[0].now + timedelta(seconds=1))
        return [Moved(saga.id, due=True, saga=saga) for saga in late]
    if suspect.stalls >= MAX_STALLS:
        why = f"taken up {suspect.stalls} times without an outcome; its step may be killing the worker"
        return _store([turns.suspend(suspect, SuspendReason.RETRIES_EXHAUSTED, why)])
    writing.count_stalls([suspect], suspect.now + timedelta(seconds=2**suspect.stalls))
    return [Moved(suspect.id, due=True)]


# --- storing --------------------------------------------------------------------------------------


def _moved(done: Sequence[Moved | Call]) -> list[Moved]:
    """Of what cannot have led to a call."""
    return [each for each in done if isinstance(each, Moved)]


def _store(taken: Sequence[Turn]) -> list[Moved | Call]:
    """Write what changed; returns for each turn its call, or how its saga moved."""
    for turn in taken:
        if turn.move.after == turn.move.saga.state and turns.is_due(turn.move.saga, turn.move.after):
            raise AssertionError("it is due, but nothing of it can start")
    # Who was counted as late and only had to look is written too: that clears the count.
    changed = [turn.move for turn in taken if turn.move.after != turn.move.saga.state or turn.move.saga.stalls]
    written = {saga.id: saga for saga in (writing.write(changed) if changed else ())}
    return [turn.call or _how(turn.move, written.get(turn.move.saga.id)) for turn in taken]


def _how(move: writing.Move, written: LoadedSaga | None) -> Moved:
    return Moved(move.saga.id, due=turns.is_due(move.saga, move.after), saga=written)
