"""The statuses of a saga and of its steps, and the one table of legal moves. Pure."""

from enum import StrEnum


class SagaStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    COMPENSATING = "COMPENSATING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    COMPENSATED = "COMPENSATED"
    ABANDONED = "ABANDONED"


class ActionStatus(StrEnum):
    """FAILED means definitely no lasting effect; UNKNOWN means there may be one."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    SKIPPED = "SKIPPED"


class CompensationStatus(StrEnum):
    NOT_NEEDED = "NOT_NEEDED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    WAIVED = "WAIVED"


class SuspendReason(StrEnum):
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    COMPENSATION_FAILED = "COMPENSATION_FAILED"
    RETRIES_EXHAUSTED = "RETRIES_EXHAUSTED"
    NO_COMPENSATION = "NO_COMPENSATION"
    CONTRACT_VIOLATION = "CONTRACT_VIOLATION"
    DEFINITION_MISMATCH = "DEFINITION_MISMATCH"
    OPERATOR_PAUSE = "OPERATOR_PAUSE"


class Side(StrEnum):
    """Which half of a step: the action, or the compensation that undoes it."""

    ACTION = "action"
    COMPENSATION = "compensation"


TERMINAL = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.ABANDONED})
LIVE = frozenset(SagaStatus) - TERMINAL

# A finished or skipped action counts as done: the saga may go past it.
DONE_ACTIONS = frozenset({ActionStatus.SUCCEEDED, ActionStatus.SKIPPED})

Status = SagaStatus | ActionStatus | CompensationStatus

_S, _A, _C = SagaStatus, ActionStatus, CompensationStatus

# One table a kind of status: members of two StrEnums with the same text are equal as keys.
MOVES: dict[type[Status], dict[Status, frozenset[Status]]] = {
    SagaStatus: {
        _S.PENDING: frozenset({_S.RUNNING, _S.WAITING, _S.COMPENSATING, _S.SUSPENDED, *TERMINAL}),
        _S.RUNNING: frozenset({_S.WAITING, _S.COMPENSATING, _S.SUSPENDED, *TERMINAL}),
        _S.WAITING: frozenset({_S.RUNNING, _S.COMPENSATING, _S.SUSPENDED, *TERMINAL}),
        _S.COMPENSATING: frozenset({_S.SUSPENDED, _S.COMPENSATED, _S.ABANDONED}),
        _S.SUSPENDED: frozenset({_S.RUNNING, _S.WAITING, _S.COMPENSATING, *TERMINAL}),
        _S.COMPLETED: frozenset(),
        _S.COMPENSATED: frozenset(),
        _S.ABANDONED: frozenset(),
    },
    ActionStatus: {
        _A.PENDING: frozenset({_A.RUNNING, _A.WAITING, _A.SUCCEEDED, _A.FAILED, _A.SKIPPED}),
        _A.RUNNING: frozenset({_A.WAITING, _A.SUCCEEDED, _A.FAILED, _A.UNKNOWN}),
        _A.WAITING: frozenset({_A.PENDING, _A.RUNNING, _A.SUCCEEDED, _A.FAILED, _A.SKIPPED}),
        _A.UNKNOWN: frozenset({_A.PENDING, _A.SUCCEEDED, _A.FAILED}),
        _A.FAILED: frozenset({_A.PENDING, _A.WAITING, _A.SKIPPED}),
        _A.SUCCEEDED: frozenset(),
        _A.SKIPPED: frozenset(),
    },
    CompensationStatus: {
        _C.NOT_NEEDED: frozenset({_C.PENDING, _C.FAILED}),
        _C.PENDING: frozenset({_C.RUNNING, _C.SUCCEEDED, _C.FAILED, _C.WAIVED, _C.NOT_NEEDED}),
        _C.RUNNING: frozenset({_C.PENDING, _C.SUCCEEDED, _C.FAILED}),
        _C.FAILED: frozenset({_C.PENDING, _C.WAIVED, _C.NOT_NEEDED}),
        _C.SUCCEEDED: frozenset(),
        _C.WAIVED: frozenset(),
    },
}


class IllegalMove(Exception):
    """A status was about to change in a way that the table of moves does not know."""


def check_move(before: Status, after: Status) -> None:
    """Raise `IllegalMove` unless ``before`` may become ``after``; staying the same is no move."""
    if before != after and after not in MOVES[type(before)][before]:
        raise IllegalMove(f"{type(before).__name__} {before} cannot become {after}")
