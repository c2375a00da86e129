import os
import shutil
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.emptying import quick_emptying
from tests.patience import patient_counts, patient_hints, patient_sessions, patient_transactions, quick_passwords
from tests.thinning import IN_CI, told

__all__ = ["patient_counts", "patient_hints", "patient_transactions", "quick_emptying", "quick_passwords"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if told:
        terminalreporter.section("verified")
    for line in told:
        terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes passes on what it told (``pytest -n``)."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["told"] = told


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    told.extend(getattr(node, "workeroutput", {}).get("told", []))


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """A database named for this run: DATABASE_URL may be shared with another one. And more patience."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    database.setdefault("TEST", {})["NAME"] = f"test_{database['NAME']}_{os.getpid()}"
    patient_sessions(database)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser. Without one the test is skipped; in CI it fails."""
    if CHROMIUM is None:
        reason = "no chromium on this machine (Debian: apt-get install chromium)"
        pytest.fail(reason) if IN_CI else pytest.skip(reason)
    expect.set_options(timeout=30_000)
    return CHROMIUM


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that ask for `chromium` carry the marker `browser`: ``pytest -m "not browser"``."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
