"""The servers that every other test stands on."""

import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection, transaction
from redis import Redis


@pytest.mark.django_db
def test_the_tests_run_on_postgresql_in_a_database_of_their_own():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_setting('server_version_num')::int")
        name, version = cursor.fetchone()

    assert name.startswith("test_")
    assert version >= 160000


def idle_limit() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        return cursor.fetchone()[0]


@pytest.mark.django_db
def test_a_test_in_one_transaction_may_take_its_time():
    with transaction.atomic():
        assert idle_limit() == "0"


@pytest.mark.django_db(transaction=True)
def test_a_test_with_real_commits_has_a_limit():
    assert idle_limit() == "10s"


def test_one_queue_is_not_shared_by_several_processes():
    """Before anything is run."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", __file__],
        env={**os.environ, "REDIS_URL": settings.REDIS_URL} | {"PYTEST_XDIST_WORKER": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "REDIS_URL: one queue cannot serve several processes of tests" in ran.stderr


def test_the_queue_answers():
    with Redis.from_url(settings.REDIS_URL) as client:
        assert client.ping() is True


def test_the_tests_run_without_debug_and_reach_no_real_bank():
    assert settings.DEBUG is False
    assert settings.BANK_URL == "http://127.0.0.1:9"
    assert settings.CARRIER_URL == "http://127.0.0.1:9"
