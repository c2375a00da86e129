"""Named places where a test can break the engine: round every commit and every outside call.

In production nobody listens, and a point costs the read of one global. A test that listens finds all
places by running a saga once, so that none has to be listed by hand.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from django.conf import settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

Listener = Callable[[str], None]


class _Now:
    """Who listens, and what the transaction at hand does, by its last `enter`."""

    listener: Listener | None = None
    doing = ""


_now = _Now()


def refuse_in_production() -> None:
    """Raises `ImproperlyConfigured` outside of tests (Django's test environment) and DEBUG."""
    if not settings.DEBUG and not hasattr(mail, "outbox"):
        raise ImproperlyConfigured("Fail points break sagas on purpose: use them in tests or with DEBUG only.")


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have ``listener`` called with the name of every point that is passed; what it raises is raised there."""
    refuse_in_production()
    before, _now.listener = _now.listener, listener
    try:
        yield
    finally:
        _now.listener = before


def point(*words: str) -> None:
    """A place with a stable name, such as ``call:book_flight:action:before``."""
    if _now.listener is not None:
        _now.listener(":".join(words))


def enter(*words: str) -> None:
    """A place that also names the commit which it leads to."""
    if _now.listener is not None:
        _now.doing = ":".join(words)
        point(_now.doing, "entry")


@contextmanager
def committing(atomic: AbstractContextManager[None]) -> Iterator[None]:
    """Points at the end of ``atomic``: when all is written, and when that is committed."""
    _now.doing = ""
    with atomic:
        yield
        if _now.doing:
            point(_now.doing, "before-commit")
    if _now.doing:
        point(_now.doing, "after-commit")


def commits_later(*words: str) -> None:
    """The same for a transaction of the caller's, which commits when the caller likes."""
    if _now.listener is not None:
        point(*words, "before-commit")
        transaction.on_commit(partial(point, *words, "after-commit"))


@contextmanager
def outside(*words: str) -> Iterator[None]:
    """Points round a call that leaves this database."""
    point(*words, "before")
    yield
    point(*words, "after")
