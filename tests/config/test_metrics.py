"""/metrics: who may read it, and what it says of Redis."""

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from prometheus_client.parser import text_string_to_metric_families

from circuit_breaker import CircuitBreaker
from config.metrics import METRICS
from sagas.monitoring.metrics import METRICS as OF_SAGAS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scrape(client, settings):
    settings.METRICS_TOKEN = "a-long-token"
    return lambda: client.get("/metrics", headers={"Authorization": "Bearer a-long-token"})


def values(response) -> dict[str, float]:
    families = text_string_to_metric_families(response.content.decode())
    return {f"{s.name} {','.join(s.labels.values())}".strip(): s.value for family in families for s in family.samples}


def test_prometheus_reads_it_with_its_token(scrape):
    response = scrape()

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    described = {family.name for family in text_string_to_metric_families(response.content.decode())}
    assert described == set(OF_SAGAS) | set(METRICS)


@pytest.mark.parametrize("sent", ["", "Bearer wrong", "Bearer ", "Basic a-long-token", "Bearer \u00fc"])
def test_nobody_reads_it_without_the_token(client, settings, sent):
    settings.METRICS_TOKEN = "a-long-token"

    response = client.get("/metrics", headers={"Authorization": sent} if sent else {})

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert b"saga_" not in response.content


def test_without_a_token_set_an_empty_one_opens_nothing(client, settings):
    settings.METRICS_TOKEN = ""

    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401


@pytest.mark.parametrize(("is_staff", "may_see", "status"), [(True, True, 200), (True, False, 401), (False, True, 401)])
def test_staff_who_may_see_sagas_read_it_in_a_browser(client, is_staff, may_see, status):
    user = User.objects.create_user("sam", is_staff=is_staff)
    if may_see:
        user.user_permissions.add(Permission.objects.get(codename="view_sagainstance"))
    client.force_login(user)

    assert client.get("/metrics").status_code == status


def test_an_open_circuit_is_seen(scrape, settings):
    settings.CIRCUIT_BREAKER_FAILURES = 1
    breaker = CircuitBreaker("bank")
    with pytest.raises(ZeroDivisionError), breaker.call():
        raise ZeroDivisionError
    found = values(scrape())
    breaker.reset()

    assert (found["circuit_open bank"], found["circuit_open carrier"], found["redis_up"]) == (1, 0, 1)
    assert values(scrape())["circuit_open bank"] == 0


def test_without_redis_the_rest_is_there(scrape, settings):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"

    found = values(scrape())

    assert found["redis_up"] == 0
    assert "saga_queue_depth" not in found
    assert found["saga_attention"] == 0


def test_without_the_database_there_are_no_numbers_at_all(scrape, monkeypatch):
    def unreachable(limit):
        raise OperationalError("connection refused")

    monkeypatch.setattr("sagas.monitoring.metrics.one_snapshot", unreachable)

    response = scrape()

    assert response.status_code == 503
    assert b"saga_" not in response.content


def test_nothing_but_reading_is_allowed(client):
    assert client.post("/metrics").status_code == 405
