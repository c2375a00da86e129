"""What a load balancer asks."""

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder


def test_a_process_that_answers_is_alive(client):
    response = client.get("/healthz")

    assert response.status_code == 200
    assert response.json() == {"status": "alive"}


@pytest.mark.django_db
def test_a_shop_with_its_database_is_ready(client):
    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json() == {"status": "ready", "database": "ok", "redis": "ok"}


@pytest.mark.django_db
def test_a_shop_without_redis_is_still_ready(client, settings):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"

    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json() == {"status": "ready", "database": "ok", "redis": "unreachable"}


@pytest.mark.django_db
def test_a_shop_with_a_pending_migration_is_not_ready(client):
    MigrationRecorder(connection).record_unapplied("auth", "0001_initial")

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json() == {"status": "not ready", "database": "migrations pending", "redis": "ok"}


@pytest.mark.django_db
def test_a_shop_without_its_database_is_not_ready(client, monkeypatch):
    def unreachable(recorder):
        raise OperationalError("connection refused")

    monkeypatch.setattr("django.db.migrations.recorder.MigrationRecorder.applied_migrations", unreachable)

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json() == {"status": "not ready", "database": "unreachable", "redis": "ok"}


def test_nothing_but_reading_is_allowed(client):
    assert client.post("/healthz").status_code == 405
    assert client.post("/readyz").status_code == 405
