"""Processes that are killed at a failpoint."""

import os
import signal
from collections.abc import Callable

from django.db import connections

from sagas import failpoints


def points_of(story: Callable[[], object]) -> list[str]:
    """The failpoints that a story passes in this process."""
    passed: list[str] = []
    with failpoints.listening(passed.append):
        story()
    return list(dict.fromkeys(passed))


def killed_at(place: str, story: Callable[[], object]) -> bool:
    """Run a story in a process of its own that is killed at a place. Says whether it came there."""
    connections.close_all()
    child = os.fork()
    if child == 0:

        def die(passed: str) -> None:
            if passed == place:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with failpoints.listening(die):
                story()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
