"""The words a plan is written in: steps, retries, locks, and what a step function gets. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

D = TypeVar("D")
R = TypeVar("R")

StepFunction = Callable[..., Any]


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@dataclass(frozen=True, slots=True)
class Failure:
    """The first failure of a saga, stored once. ``step`` is empty for a deadline or a cancel."""

    step: str
    code: str
    message: str


@dataclass(frozen=True)
class Context(Generic[D]):
    """What a step function gets. It reads nothing else that belongs to the saga.

    ``failure`` is why the saga goes backward, for a compensation that has to say so.
    """

    saga_id: str
    key: str
    data: D
    step: str
    idempotency_key: str
    attempt: int
    timeout: timedelta
    receipts: Mapping[str, Any] = field(repr=False)
    failure: "Failure | None" = None
    definition: str = ""
    trace: str = field(default="", repr=False)

    def receipt_of(self, action: Callable[..., R]) -> R:
        """The receipt of an earlier step, named by its function; `LookupError` if it is not done."""
        name = name_of(action)
        if name not in self.receipts:
            raise LookupError(f"{name} has no receipt yet; {self.step} has to come after it in the plan")
        receipt: R = self.receipts[name]
        return receipt


class Remote(Generic[R]):
    """A step function that calls something which does not share our transaction. Made by `remote`."""

    def __init__(
        self,
        call: Callable[..., R],
        prepare: StepFunction | None,
        record: StepFunction | None,
        refused: StepFunction | None,
        service: str = "",
    ) -> None:
        self.call, self.prepare, self.record, self.refused = call, prepare, record, refused
        self.service = service
        self.__name__, self.__doc__, self.__module__ = call.__name__, call.__doc__, call.__module__

    def __call__(self, *args: Any) -> R:
        return self.call(*args)


def remote(
    *,
    prepare: StepFunction | None = None,
    record: StepFunction | None = None,
    refused: StepFunction | None = None,
    service: str = "",
) -> Callable[[Callable[..., R]], Remote[R]]:
    """Mark a step function as remote: two commits stand round its call, none of them open during it.

    ``prepare(ctx)`` (of a compensation: ``prepare(ctx, receipt)``) runs in the commit before the
    call and returns the request that the call gets; ``record(ctx, receipt)`` and
    ``refused(ctx, Refused)`` run in the commit that stores the outcome. The call itself touches
    no rows; it runs on a thread, within ``ctx.timeout``, and is repeated with the same
    ``ctx.idempotency_key`` whenever its outcome is in doubt. ``service`` names what is called, for people.
    """
    return lambda call: Remote(call, prepare, record, refused, service)


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how soon a failed attempt is tried again: exponential backoff with full jitter.

    ``attempts`` is the budget before the pivot; after it, and of a compensation, it is the count
    that raises attention, since those retry without end.
    """

    attempts: int = 8
    first: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(seconds=60)

    def delay(self, failures: int, jitter: float) -> timedelta:
        """The pause after the given number of failures; ``jitter`` is drawn from 0 to 1.

        Full jitter: Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).
        """
        doublings = min(max(failures - 1, 0), 30)
        return min(self.cap, self.first * (1 << doublings)) * jitter


class OnBug(StrEnum):
    SUSPEND = "SUSPEND"
    BACKWARD = "BACKWARD"


class NoCompensation(StrEnum):
    """What happens to a step that cannot be undone when the saga goes backward."""

    SUSPEND = "SUSPEND"
    ACCEPT = "ACCEPT"


@dataclass(frozen=True)
class Step:
    """A local step: all its effects are rows of this database, one commit with the saga's progress.

    ``reads_only`` says that there is nothing to undo, ``skippable`` that an operator may go past it.
    """

    action: StepFunction
    compensation: StepFunction | None = None
    check: StepFunction | None = None
    retry: Retry = Retry()
    timeout: timedelta = timedelta(seconds=8)
    on_bug: OnBug = OnBug.SUSPEND
    no_compensation: NoCompensation | None = None
    reads_only: bool = False
    skippable: bool = False


@dataclass(frozen=True)
class Begin(Step):
    """The transaction that starts the saga, as its first step: done when the saga is stored.

    ``action`` names the function that calls `services.start`; it is never run by the engine. Its
    compensation makes sure that what was created with the saga is undone, however early it fails.
    """


@dataclass(frozen=True)
class RemoteStep(Step):
    """A step whose action is `remote`. ``check(ctx, request)`` answers whether it happened."""

    timeout: timedelta = timedelta(seconds=10)


@dataclass(frozen=True)
class Pivot(Step):
    """The point of no return, local or remote: before it the saga can turn back, after it it goes forward."""

    timeout: timedelta = timedelta(seconds=10)


class OnTimeout(StrEnum):
    """What happens when a wait is over and nothing came; past the pivot it is always attention."""

    BACKWARD = "BACKWARD"
    ATTENTION = "ATTENTION"


@dataclass(frozen=True)
class Await(Step):
    """A step that waits for a signal of its own name, at most ``within``.

    ``action(ctx, payload)`` is local and runs in the commit that consumes the signal; the type of
    ``payload`` is what a signal has to carry. ``carried_by_others``: until it comes, others act for the
    saga, so that it cannot be turned back on its own.
    """

    within: timedelta | None = None
    on_timeout: OnTimeout = OnTimeout.BACKWARD
    carried_by_others: bool = False


@dataclass(frozen=True)
class AwaitPerson(Await):
    """A step that waits for a person's decision; when ``within`` is over it raises attention."""

    on_timeout: OnTimeout = OnTimeout.ATTENTION


@dataclass(frozen=True)
class Sleep(Step):
    """A step that is run when ``within`` has passed since the saga came to it."""

    within: timedelta = timedelta()


class LateSignal(StrEnum):
    """What becomes of a signal that comes after the end of its saga."""

    ATTENTION = "ATTENTION"
    IGNORE = "IGNORE"


class Parallel:
    """Steps that do not wait for each other; the next one waits for all of them."""

    def __init__(self, *members: Step) -> None:
        self.members = members


@dataclass(frozen=True)
class Lock(Generic[D]):
    """A semantic lock: the kind of resource, and how its id is read from the saga's data.

    It is held to the end, or until ``release_after``, a step past the pivot, is done.
    """

    resource_type: str
    resource_id: Callable[[D], str]
    release_after: StepFunction | None = None


def name_of(function: StepFunction) -> str:
    return str(getattr(function, "__name__", function))
