"""Finds what is due and hints at it. Any number may run; it is the reason why no hint has to arrive."""

import logging
import signal
from threading import Event, Thread
from time import monotonic

from django.db import close_old_connections

from sagas.choreography.broker import receive
from sagas.driver import drain_due
from sagas.jobs import hint
from sagas.periodic import run_due
from sagas.selectors import is_anything_due
from sagas.turns import WEATHER

logger = logging.getLogger(__name__)

PERIOD = 0.5
# How long the end waits for periodic jobs under way; one that is cut off runs again after its limit.
PATIENCE_S = 3.0


def sweep() -> bool:
    """Hint at what is due, or drive it here when no hint can be sent. Says whether anything was."""
    # Other services send no hints.
    came = receive()
    if not is_anything_due():
        return came
    if not hint(wait=True):
        drain_due(PERIOD)
    return True


def run() -> None:
    """Sweep until SIGTERM or SIGINT. A database that is away is waited for."""
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    at_work: list[Thread] = []
    while not stopping.wait(PERIOD):
        try:
            sweep()
            at_work = [job for job in at_work if job.is_alive()] + run_due()
        except WEATHER as error:
            logger.warning("the database is away, trying again: %s", error)
            close_old_connections()
        except Exception:
            # Who finds what everybody else has missed does not go away.
            logger.exception("a sweep failed, the next one follows")
            close_old_connections()
    until = monotonic() + PATIENCE_S
    for job in at_work:
        job.join(max(until - monotonic(), 0))
