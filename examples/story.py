"""Tells what a saga does while it does it, for the commands of the examples."""

import time
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError

from sagas import selectors
from sagas.driver import drain_due
from sagas.states import SagaStatus

PATIENCE_S = 120.0
# Nobody acts on these but a person.
AT_REST = (SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.ABANDONED, SagaStatus.SUSPENDED)
_SIGNS = {"DONE": "+", "REFUSED": "x"}


def tell(
    definition: str,
    key: str,
    say: Callable[[str], Any],
    *,
    on_trouble: Callable[[str], None] = lambda step: None,
) -> str:
    """Drive the saga to its end, and say each attempt as it is made; returns the saga's status.

    Works beside running workers, and where there are none. ``on_trouble`` is called with the name of a step
    whose attempt was neither done nor refused, so that somebody can mend what is wrong.
    """
    saga = selectors.saga_of(definition, key)
    if saga is None:
        raise CommandError(f"There is no saga {definition} for {key}.")
    told: set[int] = set()
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at:
        drain_due(seconds=1)
        saga.refresh_from_db()
        # In the order in which they were made: those that share a commit may end at the same time.
        for attempt in saga.attempts.exclude(outcome="").exclude(pk__in=told).order_by("id"):
            told.add(attempt.pk)
            say(_line(attempt))
            if attempt.outcome not in _SIGNS:
                on_trouble(attempt.step)
        if saga.status in AT_REST:
            say(f"The saga is {saga.status}. {selectors.waiting_words(saga)}")
            return str(saga.status)
        time.sleep(0.05)
    raise CommandError(f"The saga has not come to rest in {PATIENCE_S:g} s: {selectors.waiting_words(saga)}")


def _line(attempt: Any) -> str:
    undone = "takes back " if attempt.side == "compensation" else ""
    sign = "-" if undone and attempt.outcome == "DONE" else _SIGNS.get(attempt.outcome, "?")
    message = f": {attempt.message}" if attempt.message else ""
    return f"  {sign} {undone}{attempt.step} {attempt.outcome.lower()}{message}"
