"""What really came of an operation: the next outcome, never that something was requested."""

from time import monotonic, sleep

from sagas.models import Operation, SagaInstance, StepAttempt
from sagas.selectors import lock_holder, waiting_words


def follow(operation: Operation, *, seconds: float = 8.0) -> str:
    """What came of an operation, in a sentence: waits for the next outcome, at most ``seconds``.

    The next outcome is the end of an attempt that started after it, or a saga that rests.
    """
    until = monotonic() + seconds
    while True:
        saga = SagaInstance.objects.prefetch_related("steps").get(pk=operation.saga_id)
        attempt = (
            StepAttempt.objects.filter(saga_id=operation.saga_id, started_at__gte=operation.at, ended_at__isnull=False)
            .order_by("-ended_at")
            .first()
        )
        if saga.wake_at is None or saga.waiting_on is not None:
            return f"{_own_words(operation)}{_attempt_words(attempt)}{waiting_words(saga)}"
        if monotonic() > until:
            late = "" if attempt else "No worker has taken it up yet; are the workers running? "
            return f"{_attempt_words(attempt)}{late}{waiting_words(saga)}"
        sleep(0.1)


def _own_words(operation: Operation) -> str:
    """What an operation did besides what the saga now does."""
    if operation.name == "review":
        return "It asks for attention no more. "
    if operation.detail.get("proposed"):
        return "Proposed; so much is at stake that a second person has to confirm it. "
    if operation.name != "release":
        return ""
    kind, _, key = operation.detail["lock"].partition(" ")
    holder = lock_holder(kind, key)
    return (
        f"{kind} {key} is held by {holder.definition} {holder.key} now. " if holder else f"{kind} {key} is free now. "
    )


def _attempt_words(attempt: StepAttempt | None) -> str:
    if attempt is None:
        return ""
    half = "" if attempt.side == "action" else "The compensation of "
    said = f": {attempt.message}" if attempt.message else ""
    return f"{half}{attempt.step} came out {attempt.outcome}{said}. "
