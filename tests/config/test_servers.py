"""The servers that every other test stands on."""

import pytest
from django.conf import settings
from django.db import connection
from redis import Redis


@pytest.mark.django_db
def test_the_tests_run_on_postgresql_in_a_database_of_their_own():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_setting('server_version_num')::int")
        name, version = cursor.fetchone()

    assert name.startswith("test_")
    assert version >= 160000


def test_the_queue_answers():
    with Redis.from_url(settings.REDIS_URL) as client:
        assert client.ping() is True


def test_the_tests_run_without_debug_and_reach_no_real_bank():
    assert settings.DEBUG is False
    assert settings.BANK_URL == "http://127.0.0.1:9"
    assert settings.CARRIER_URL == "http://127.0.0.1:9"
