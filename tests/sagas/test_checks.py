"""What the system checks say of a database whose sessions hold on for too long."""

from collections.abc import Iterator

import pytest
from django.core.checks import Tags, run_checks
from django.core.management import CommandError, call_command
from django.db import connection

LIMITS = ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout")


def complaints(*databases: str) -> list[str]:
    found = run_checks(tags=[Tags.database], databases=databases or None)
    return [message.msg for message in found if message.id in ("sagas.E002", "sagas.E013")]


@pytest.fixture
def session(transactional_db: None) -> Iterator[None]:
    """A session as the settings ask for, and none of its changes for the next test."""
    connection.close()
    yield
    connection.close()


def test_the_limits_of_the_settings_are_fit(session: None):
    assert complaints() == complaints("default") == []


@pytest.mark.parametrize("name", LIMITS)
def test_settings_that_ask_for_no_limit_are_refused(monkeypatch: pytest.MonkeyPatch, name: str):
    options = connection.settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "options", options["options"].replace(f"-c {name}=", "-c work_mem="))

    assert complaints() == [f"The connection to the database asks for no {name}."]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("limit", [0, 10_001])
def test_a_session_without_a_limit_or_with_one_that_outlasts_a_lease_is_refused(session: None, name: str, limit: int):
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, false)", [name, f"{limit}ms"])

    assert complaints("default") == [
        f"The session has a {name} of {limit} ms, so one frozen worker can hold a saga for too long."
    ]
    with pytest.raises(CommandError, match=f"SET {name}"):
        call_command("migrate", skip_checks=False, verbosity=0)
