"""Finds what is due and hints at it. Any number may run; it is the reason why no hint has to arrive."""

import logging
import signal
from threading import Event

from django.db import close_old_connections

from sagas.driver import drain_due
from sagas.engine import WEATHER
from sagas.jobs import hint
from sagas.selectors import is_anything_due

logger = logging.getLogger(__name__)

PERIOD = 0.5


def sweep() -> bool:
    """Hint at what is due, or drive it here when no hint can be sent. Says whether anything was."""
    if not is_anything_due():
        return False
    if not hint():
        drain_due(PERIOD)
    return True


def run() -> None:
    """Sweep until SIGTERM or SIGINT. A database that is away is waited for."""
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    while not stopping.wait(PERIOD):
        try:
            sweep()
        except WEATHER as error:
            logger.warning("the database is away, trying again: %s", error)
            close_old_connections()
