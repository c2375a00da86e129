"""What would cost every test its time, and what a machine that stands still for seconds would break."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import TestCase

from sagas import jobs
from sagas.monitoring import tally


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """The usual hash takes a third of a second for each user, on purpose. Processes of their own keep it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "PASSWORD_HASHERS", ["django.contrib.auth.hashers.MD5PasswordHasher"])
        yield


def patient_sessions(database: dict[str, Any]) -> None:
    """Let the sessions of this process wait longer than the shop's, as long as a lease allows.

    A machine that stood still for six seconds would have lost the transaction, the lock, or the connection at hand.
    Who tests what comes of that sets a limit of its own, and other processes have those of the shop.
    """
    limits = "-c idle_in_transaction_session_timeout=10s -c statement_timeout=10s -c lock_timeout=8s"
    database["OPTIONS"] |= {"connect_timeout": 30, "options": f"{database['OPTIONS']['options']} {limits}"}


@pytest.fixture(scope="session", autouse=True)
def patient_counts() -> Iterator[None]:
    """The count of what ended leaves alone what a transaction under way may add to.

    A test that counts or purges is not to depend on how soon another process gets its turn on a busy machine.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "PATIENCE_S", 60.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def patient_hints() -> Iterator[None]:
    """A shopper waits for Redis no longer than a blink, and a hint that is lost is the sweeper's. Tests have none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "PATIENCE_S", 8.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def patient_transactions() -> Iterator[None]:
    """A test within one transaction holds it for all its time: the limit for idle ones is not meant for it.

    It is what a frozen worker meets. Tests with real commits, and all other processes, keep it.
    """
    enter = TestCase._enter_atomics.__func__  # type: ignore[attr-defined]

    def enter_and_stay(cls: type[TestCase]) -> Any:
        atomics = enter(cls)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        return atomics

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TestCase, "_enter_atomics", classmethod(enter_and_stay))
        yield
