"""What the dashboard says of those who drive the sagas, of what is late, and of auditor and alerts."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import redis
from django.contrib.auth.models import User
from django.utils.timezone import now

from sagas.choreography.models import OutboxEvent
from sagas.models import PeriodicJob, SagaInstance
from sagas.monitoring.models import Alert
from tests.sagas.operators import bank_is_itself_again, client_of, trip, viewer

__all__ = ["bank_is_itself_again", "viewer"]


def shown(user: User) -> Any:
    return client_of(user).get("/admin/sagas/").context["dashboard"]


def health(user: User) -> dict[str, tuple[bool, str]]:
    return {line.what: (line.well, line.words) for line in shown(user).health}


def test_a_silent_sweeper_a_late_saga_and_a_broken_rule_are_not_well(viewer: User) -> None:
    report = {"at": "", "since": "", "seconds": 1, "violations": [{}, {}], "orphans": []}
    ago = now() - timedelta(minutes=5)
    PeriodicJob.objects.create(
        name="sagas.audit.audit_lately", last_started_at=ago, last_ended_at=ago, last_result=report
    )
    saga = trip("down")
    SagaInstance.objects.filter(pk=saga.pk).update(wake_at=ago)

    said = health(viewer)

    assert said["Sweeper"] == (False, "seen 5 min ago")
    assert said["Due"] == (False, "the oldest has been due for 5 min")
    assert said["Audit"] == (False, "2 violations, 5 min ago")


def test_an_event_that_nobody_carries_and_an_open_alert_are_not_well(viewer: User) -> None:
    waited, over = now() - timedelta(minutes=3), now()
    one = {"event_id": uuid4(), "correlation_id": uuid4(), "time": waited, "data": {}}
    OutboxEvent.objects.create(type="tests.told", subject="ada", due_at=waited, **one)
    told = {"condition": "STUCK", "code": "x", "subject": "ada", "count": 1, "opened_at": waited, "seen_at": waited}
    Alert.objects.create(fingerprint="one", **told)
    Alert.objects.create(fingerprint="two", resolved_at=over, **told)

    said = health(viewer)

    assert said["Events"] == (False, "the oldest has waited for 3 min to be carried")
    assert said["Alerts"] == (False, "1 open")


def test_what_is_well_is_said_to_be(viewer: User, settings: Any) -> None:
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    report = {"at": "", "since": "", "seconds": 1, "violations": [], "orphans": []}
    PeriodicJob.objects.create(
        name="sagas.audit.audit_everything", last_started_at=now(), last_ended_at=now(), last_result=report
    )
    trip("down")

    said = health(viewer)

    assert said["Due"] == (True, "no saga is late")
    assert said["Events"] == (True, "all are carried")
    assert said["Alerts"] == (True, "0 open")
    assert said["Daily audit"][0]
    assert said["Sweeper"][0]
    assert said["Queue"] == (True, "0 hints wait")
    assert said["Workers"] == (False, "none tells of itself")
    assert {"Circuit to the bank", "Circuit to the carrier"} <= said.keys()


def test_without_redis_the_dashboard_says_so_and_shows_the_rest(viewer: User, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    trip("down")

    said = health(viewer)

    assert said["Queue"] == (
        False,
        "Redis is away: the sweeper drives the sagas, slower; who works is not known",
    )
    assert "Workers" not in said
    assert [line.saga.business_key for line in shown(viewer).waiting] == ["ada"]
