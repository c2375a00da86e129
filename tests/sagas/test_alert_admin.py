"""Alerts in the admin: what is wrong now, what was, and what to do."""

import pytest
from django.contrib.auth.models import Permission, User
from django.utils.timezone import now

from sagas.monitoring.models import Alert, AlertMessage
from tests.plans_of_lists import fill, plans

pytestmark = pytest.mark.django_db

LIST = "/admin/sagas/alert/"


@pytest.fixture
def alert() -> Alert:
    return Alert.objects.create(
        condition="OUTCOME_UNKNOWN", code="OUTCOME_UNKNOWN", fingerprint="a" * 32, subject="shop.checkout <b>S-1</b>",
        message="no answer", count=2, saga_id="01a1fda6-cfd6-7068-80ef-c0171b01eb99", opened_at=now(), seen_at=now(),
    )  # fmt: skip


def test_open_and_over_are_told_apart_in_words(admin_client, alert):
    Alert.objects.create(
        condition="WORKERS_SILENT", code="WORKERS_SILENT", fingerprint="b" * 32, subject="due sagas are not taken up",
        message="", count=1, opened_at=now(), seen_at=now(), resolved_at=now(),
    )  # fmt: skip

    both, still = admin_client.get(LIST).content.decode(), admin_client.get(f"{LIST}?state=open").content.decode()

    assert "Outcome unknown too long" in both
    assert "Workers silent" in both
    assert "Outcome unknown too long" in still
    assert "Workers silent" not in still
    assert "Workers silent" in admin_client.get(f"{LIST}?state=over").content.decode()


def test_its_page_says_what_to_do_and_who_was_told(admin_client, alert):
    AlertMessage.objects.create(alert=alert, channel="mail", news="opened", sent_at=now(), tries=1)
    AlertMessage.objects.create(
        alert=alert, channel="webhook", news="opened", due_at=now(), tries=3, last_error="NotTaken: answered 500"
    )

    page = admin_client.get(f"{LIST}{alert.pk}/change/").content.decode()

    assert "Nobody knows whether it happened." in page
    assert "Resolve outcome, it happened, with its receipt." in page
    assert f"/admin/sagas/sagainstance/{alert.saga_id}/change/" in page
    assert "Opened by mail: <time" in page
    assert "Opened by webhook: 3 tries, the last said: NotTaken: answered 500" in page
    assert "<b>S-1</b>" not in page


@pytest.mark.parametrize(("may_see", "status"), [(True, 200), (False, 403)])
def test_who_may_see_alerts_sees_them_and_nobody_changes_them(client, alert, may_see, status):
    user = User.objects.create_user("vera", is_staff=True)
    if may_see:
        user.user_permissions.add(Permission.objects.get(codename="view_alert"))
    client.force_login(user)

    assert client.get(LIST).status_code == status
    assert client.get(f"{LIST}{alert.pk}/change/").status_code == status
    assert client.post(f"{LIST}{alert.pk}/change/", {"message": "mine"}).status_code == 403
    assert client.post(f"{LIST}{alert.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Alert.objects.get().message == "no answer"


@pytest.mark.parametrize("query", ["", "?state=open"])
def test_the_list_is_read_through_an_index(admin_client, query):
    fill(
        "sagas_alert",
        "condition, fingerprint, code, subject, message, count, opened_at, seen_at, resolved_at",
        "'STUCK', n::text, 'ATTENTION', 's', 'm', 1, now(), now(), CASE WHEN n > 50 THEN now() END",
    )

    plan = plans(admin_client, f"{LIST}{query}", "sagas_alert")

    assert "Seq Scan" not in plan
