"""How a step says what came of it. Three outcomes: done, refused, unknown. Pure.

A step function returns its receipt when it is done, and raises one of these otherwise. Any
other exception is a bug: a local step was rolled back, of a remote step nobody knows.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec

from sagas.redaction import message_of, words_of

R = TypeVar("R")


class Refused(Exception):
    """A business no, with no lasting effect: declined, out of stock. The saga turns back."""

    # Of a class of one's own that does not call ours.
    code, message = "refused", ""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Transient(Exception):
    """Definitely no effect, and worth another try: connection refused, 429, 503 promising nothing was done."""

    message = ""
    retry_after: timedelta | None = None

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.message, self.retry_after = message, retry_after


class Unknown(Exception):
    """It may have happened: a time-out, a lost answer, an ambiguous 5xx."""

    message = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Happened(Generic[R]):
    """A check's answer: the effect is there, with this receipt."""

    receipt: R


@dataclass(frozen=True, slots=True)
class DidNotHappen:
    """A check's answer: no effect is there, and the key can no longer make one. "Not found" is not a proof."""

    reason: str


@dataclass(frozen=True, slots=True)
class CannotTell:
    """A check's answer: no proof either way; the call is repeated with the same key."""

    reason: str


CheckAnswer = Happened[R] | DidNotHappen | CannotTell


class OutcomeKind(StrEnum):
    DONE = "DONE"
    REFUSED = "REFUSED"
    TRANSIENT = "TRANSIENT"
    UNKNOWN = "UNKNOWN"
    BUG = "BUG"
    LEASE_OVER = "LEASE_OVER"


class Outcome(msgspec.Struct, frozen=True):
    """What came of one attempt. ``definite`` says that it certainly left no effect, or is done.

    ``took`` is the time of a local step; a remote one lies between two commits, which tell the time.
    ``code`` and ``message`` are stored and shown in many places, so they are redacted from the outset.
    """

    kind: OutcomeKind
    receipt: Any = None
    code: str = ""
    message: str = ""
    retry_after: timedelta | None = None
    definite: bool = True
    error: BaseException | None = None
    took: timedelta = timedelta(0)


def outcome_of(error: BaseException, *, called: bool) -> Outcome:
    """The outcome that an exception stands for; ``called`` when an outside call may have been made."""
    match error:
        case Refused():
            code, message = message_of(error.code), message_of(error.message)
            return Outcome(OutcomeKind.REFUSED, code=code, message=message, error=error)
        case Transient():
            after, message = error.retry_after, message_of(error.message)
            return Outcome(OutcomeKind.TRANSIENT, code="transient", message=message, retry_after=after, error=error)
        case Unknown():
            kind = OutcomeKind.UNKNOWN if called else OutcomeKind.TRANSIENT
            return Outcome(kind, code="unknown", message=message_of(error.message), definite=not called, error=error)
    return Outcome(OutcomeKind.BUG, code="bug", message=words_of(error), definite=not called, error=error)
