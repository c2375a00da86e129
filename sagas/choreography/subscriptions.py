"""Who reacts to which event. A reaction is a saga of one step, made from the handler and its options."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from types import new_class
from typing import Any, TypeVar

from sagas.choreography.events import Delivery, Event
from sagas.definition import Begin, Context, Lock, NoCompensation, Pivot, Remote, RemoteStep, Retry, Saga, Step
from sagas.outcomes import Refused
from sagas.steps import StepFunction, name_of, seconds

F = TypeVar("F", bound=StepFunction)

# A service may be down for a while. Full jitter, at most a minute: some hours.
PATIENT = Retry(attempts=1_000)
TIMEOUT = seconds(8)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A handler: ``name`` is what its inbox knows it by, so renaming the function is a new subscriber."""

    name: str
    types: tuple[str, ...]
    saga: type[Saga[Delivery]]


class NotHandled(Exception):
    """A handler said no to an event, and nothing is declared for that: a dead letter."""


subscriptions: dict[str, Subscription] = {}


def subscribe(
    *types: str,
    check: StepFunction | None = None,
    compensation: StepFunction | None = None,
    then: StepFunction | None = None,
    otherwise: StepFunction | None = None,
    retry: Retry = PATIENT,
    timeout: timedelta = TIMEOUT,
    deadline: timedelta | None = None,
    version: int = 1,
) -> Callable[[F], F]:
    """Have the decorated function called once for each event of these types.

    It gets a `Context` whose data is the `Delivery`; `outbox.heard` reads the event. A plain function is one
    commit with its inbox row and with what it publishes. One made by `remote` calls the outside between two
    commits, and may have a ``check``, as a step of a plan. With a ``compensation`` an outcome that stays unknown
    is undone; ``then(ctx)`` is the commit that tells of the effect, when it is certain that it stays.

    Events of one subject come to a handler one after the other. One that fails is tried again after a growing
    pause; a bug after three times is a dead letter, which holds up later events of its subject only.

    ``otherwise(ctx, None)``: what to do, in one commit, when the handler refuses, gives up or is past its
    ``deadline``; ``ctx.failure`` says why. Without it that is a dead letter, too.
    """

    def register(function: F) -> F:
        name = f"{function.__module__}.{function.__name__}"
        if name in subscriptions:
            raise ValueError(f"{name} subscribes twice; name all its events in one @subscribe.")
        if (compensation is None) is not (then is None):
            raise ValueError(
                f"{name}: what can be undone is told of when it stays; give compensation and then, or none."
            )
        begin = _begin(otherwise)
        handle = function if otherwise else _without_no(function)
        options: dict[str, Any] = {"check": check, "retry": retry, "timeout": timeout}
        steps: tuple[Step, ...]
        if then is None:
            steps = (begin, Pivot(handle, **options))
        else:
            kind = RemoteStep if isinstance(function, Remote) else Step
            steps = (begin, kind(handle, compensation=compensation, **options), Pivot(then))
        words: dict[str, Any] = {
            "name": name,
            "version": version,
            "steps": steps,
            "deadline": deadline,
            # The key of the lock is what keeps the order: first in, first out for each subject.
            "locks": (Lock[Delivery](name, _subject_of),),
        }
        saga = new_class(function.__name__, (Saga[Delivery],), exec_body=lambda body: body.update(words))
        subscriptions[name] = Subscription(name, types, saga)
        return function

    return register


def subscribers(event: Event) -> list[Subscription]:
    """Who has to hear of an event, always in the same order."""
    return [subscription for _, subscription in sorted(subscriptions.items()) if event.type in subscription.types]


def deliver(ctx: Context[Delivery]) -> None:
    """The commit that puts an event into a handler's inbox; the first step of each of these sagas."""


def _begin(otherwise: StepFunction | None) -> Begin:
    if otherwise is None:
        return Begin(deliver, no_compensation=NoCompensation.SUSPEND)
    return Begin(deliver, compensation=otherwise)


def _without_no(function: StepFunction) -> StepFunction:
    """Nothing is declared for a no, so it is a bug that somebody has to look at, and then to try again."""
    call = function.call if isinstance(function, Remote) else function

    @wraps(call)
    def handle(*args: Any) -> Any:
        try:
            return call(*args)
        except Refused as refused:
            raise NotHandled(f"{name_of(function)} said no: {refused.message}") from refused

    if isinstance(function, Remote):
        return Remote(handle, function.prepare, function.record, None, function.service)
    return handle


def _subject_of(delivery: Delivery) -> str:
    return delivery.subject
