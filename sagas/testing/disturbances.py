"""What can go wrong at a boundary, and where a saga may end up after it."""

from collections.abc import Callable
from dataclasses import dataclass

import redis
from django.db import OperationalError

from sagas.outcomes import Refused, Transient, Unknown
from sagas.states import SagaStatus
from sagas.testing.boundaries import Answer, Boundary
from sagas.testing.workers import freeze, kill_oneself, stop_oneself

COMPLETED, COMPENSATED, SUSPENDED = SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.SUSPENDED
# Past its pivot a saga does not turn back.
TURNED = (COMPLETED, COMPENSATED)

# Where work begins that can say no or fail.
ACTIONS = ("step:*:action:entry", "call:*:action:before")
COMPENSATIONS = ("step:*:compensation:entry", "call:*:compensation:before")
CALLS = ("call:*:action:before", "call:*:compensation:before", "call:*:check:before")
ANSWERS = ("call:*:action:after", "call:*:compensation:after", "call:*:check:after")


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One kind of trouble.

    ``ends``: where the saga may end; empty means where it ends undisturbed. ``ends_past_pivot``: the same
    where it strikes a step past the pivot, if that is another place. What happens at the boundary is
    ``act`` (the worker does it to itself), or ``answer`` (it is raised there; at every pass and for every
    worker when ``for_ever``), or ``expires`` (the deadline of the saga passes).
    ``others`` says what others do while the worker is stopped or dead: "work" on; "cancel" and work on;
    "give up" the worker, whose lease is over, and carry on; "give up, cancel".
    """

    name: str
    strikes: Callable[[Boundary], bool]
    act: Callable[[], None] | None = None
    answer: Answer | None = None
    for_ever: bool = False
    expires: bool = False
    others: str = ""
    ends: tuple[str, ...] = ()
    ends_past_pivot: tuple[str, ...] = ()


def _everywhere(_: Boundary) -> bool:
    return True


def _between_transactions(here: Boundary) -> bool:
    """Inside one the worker holds the saga's row: who wants to turn it back comes before or after."""
    return not here.in_transaction and here.name != "hint"


def _at(*patterns: str) -> Callable[[Boundary], bool]:
    return lambda here: here.is_at(*patterns)


def _commit(side: str) -> Callable[[Boundary], bool]:
    return lambda here: here.name.endswith(f":{side}-commit")


def _connection_lost() -> Exception:
    return OperationalError("server closed the connection unexpectedly")


DISTURBANCES = (
    Disturbance("kill", _everywhere, act=kill_oneself),
    Disturbance("kill, cancel", _everywhere, act=kill_oneself, others="give up, cancel", ends=TURNED),
    Disturbance("pause", _everywhere, act=freeze, others="give up"),
    Disturbance("double", _everywhere, act=stop_oneself, others="work"),
    Disturbance("commit failed", _commit("before"), answer=_connection_lost),
    Disturbance("commit unanswered", _commit("after"), answer=_connection_lost),
    Disturbance("hint lost", _at("hint"), answer=lambda: redis.ConnectionError("connection refused")),
    Disturbance("not done, lost", _at(*CALLS), answer=lambda: Unknown("timed out")),
    Disturbance("done, lost", _at(*ANSWERS), answer=lambda: Unknown("timed out")),
    Disturbance("done late", _at("call:*:action:before"), act=stop_oneself, others="give up, cancel", ends=TURNED),
    Disturbance(
        "refused",
        _at(*ACTIONS),
        answer=lambda: Refused("refused", "no"),
        ends=(COMPENSATED,),
        ends_past_pivot=(SUSPENDED,),
    ),
    Disturbance("transient", _at(*ACTIONS, *COMPENSATIONS), answer=lambda: Transient("not now")),
    Disturbance("fails once", _at(*COMPENSATIONS), answer=lambda: RuntimeError("a bug")),
    Disturbance(
        "fails for ever", _at(*COMPENSATIONS), answer=lambda: RuntimeError("a bug"), for_ever=True, ends=(SUSPENDED,)
    ),
    Disturbance("cancel", _between_transactions, act=stop_oneself, others="cancel", ends=TURNED),
    Disturbance("deadline", _between_transactions, expires=True, ends=TURNED),
)
NAMES = tuple(disturbance.name for disturbance in DISTURBANCES)
