"""The dashboard: what it shows, of whom, to whom, and what it costs."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from sagas import services
from sagas.admin import figures
from sagas.models import SagaInstance, StepAttempt
from tests.plans_of_lists import ENOUGH, fill
from tests.sagas.operators import (
    MARKUP,
    TripData,
    Visa,
    bank_is_itself_again,
    client_of,
    drain,
    staff,
    text_of,
    trip,
    viewer,
)

__all__ = ["bank_is_itself_again", "viewer"]

DASHBOARD = "/admin/sagas/"


def shown(user: User, **query: str) -> Any:
    response = client_of(user).get(DASHBOARD, query)
    assert response.status_code == 200
    return response.context["dashboard"]


def live(dashboard: Any) -> dict[str, int]:
    return {status: count for status, _, count in dashboard.live if count}


def visa(traveller: str) -> None:
    with transaction.atomic():
        services.start(Visa, TripData(traveller), key=traveller)
    drain()


def test_what_needs_a_person_comes_first_the_suspended_before_the_rest_the_oldest_before_the_newer(
    viewer: User,
) -> None:
    late = trip("yes", "late parcel")
    SagaInstance.objects.filter(pk=late.pk).update(attention="a signal came too late")
    trip("no stamp", "ada")
    trip("no stamp", "grace")
    trip("down", "waits")

    dashboard = shown(viewer)

    assert [line.saga.business_key for line in dashboard.for_a_person] == ["ada", "grace", "late parcel"]
    assert dashboard.for_a_person[2].why == "a signal came too late. Done."
    text = text_of(client_of(viewer).get(DASHBOARD))
    assert text.index('id="dashboard-person"') < text.index('id="dashboard-live"')


def test_what_is_under_way_is_counted_by_status_and_by_definition(viewer: User) -> None:
    trip("down", "waits")
    trip("no stamp", "stuck")
    trip("yes", "done")
    visa("ada")

    assert live(shown(viewer)) == {"SUSPENDED": 1, "WAITING": 2}
    assert live(shown(viewer, definition="tests.visa")) == {"WAITING": 1}
    assert [line.saga.business_key for line in shown(viewer, definition="tests.visa").waiting] == ["ada"]


def test_rates_are_shares_of_what_ended_in_the_period(viewer: User) -> None:
    trip("yes", "one")
    trip("yes", "two")
    trip("no", "three")
    old = trip("no", "long ago")
    SagaInstance.objects.filter(pk=old.pk).update(
        created_at=now() - timedelta(days=2), ended_at=now() - timedelta(days=2)
    )

    in_an_hour = {what: (figure, of) for what, figure, of in shown(viewer, period="1h").rates}
    in_a_week = {what: figure for what, figure, _ in shown(viewer, period="7d").rates}

    assert in_an_hour["Ended"] == ("0.1 a minute", "3 sagas")
    assert (in_an_hour["Failed"][0], in_an_hour["Compensated"][0]) == ("33 %", "33 %")
    assert in_a_week["Compensated"] == "50 %"


def test_one_saga_is_counted_as_one(viewer: User) -> None:
    trip("yes", "one")

    dashboard = shown(viewer)

    assert [of for what, _, of in dashboard.rates if what in ("Started", "Ended")] == ["1 saga", "1 saga"]
    assert dashboard.chart.words.startswith("In 1 h 0 min 1 saga started and 1 ended")


def test_without_any_saga_there_is_nothing_to_divide_by(viewer: User) -> None:
    dashboard = shown(viewer)

    assert [figure for _, figure, _ in dashboard.rates] == ["0.0 a minute", "0.0 a minute", "–", "–", "–"]
    assert (dashboard.for_a_person, dashboard.failures, dashboard.steps, dashboard.locks) == ([], [], [], [])


def test_the_times_of_a_step_are_those_of_attempts_that_went_well(viewer: User) -> None:
    saga = trip("down")
    began = now() - timedelta(minutes=1)
    slow = StepAttempt.objects.get(saga=saga, step="pay")
    for number, took in enumerate([100, 200, 1_000], start=2):
        slow.pk, slow.number, slow.outcome = None, number, "DONE"
        slow.started_at, slow.ended_at = began, began + timedelta(milliseconds=took)
        slow.fingerprint = ""
        slow.save()
    StepAttempt.objects.filter(saga=saga, step="reserve_seat").update(
        started_at=began, ended_at=began + timedelta(microseconds=300)
    )

    steps = {line.figures.step: line for line in shown(viewer).steps}

    assert list(steps) == ["reserve_seat", "note_traveller", "pay"]
    pay = steps["pay"]
    assert (pay.figures.tries, pay.figures.failures, pay.share_failed) == (4, 1, "25 %")
    assert (pay.median, pay.slow, steps["reserve_seat"].median) == ("200 ms", "920 ms", "under 1 ms")


def test_failures_that_look_the_same_are_one_group_which_leads_to_its_sagas(viewer: User) -> None:
    trip("no", "ada")
    trip("no", "grace")
    trip("down", "other")
    trip("yes", "fine")

    groups = {group.outcome: group for group, *_ in shown(viewer).failures}

    assert sorted(groups) == ["REFUSED", "TRANSIENT"]
    declined = groups["REFUSED"]
    assert (declined.sagas, declined.attempts, declined.step, declined.definition) == (2, 2, "pay", "tests.journey")
    assert declined.first_at < declined.last_at
    listed = client_of(viewer).get("/admin/sagas/sagainstance/", {"fingerprint": declined.fingerprint})
    assert [saga.business_key for saga in listed.context["cl"].result_list] == ["grace", "ada"]
    address = f"/admin/sagas/sagainstance/?fingerprint={declined.fingerprint}"
    assert address in text_of(client_of(viewer).get(DASHBOARD))


@pytest.mark.parametrize("fingerprint", ["nonsense", "' OR 1=1"])
def test_an_unknown_failure_leads_to_an_empty_list(viewer: User, fingerprint: str) -> None:
    trip("no")

    listed = client_of(viewer).get("/admin/sagas/sagainstance/", {"fingerprint": fingerprint})

    assert listed.status_code == 200
    assert list(listed.context["cl"].result_list) == []


def test_a_failure_group_knows_when_it_was_seen_first_ever(viewer: User) -> None:
    trip("no", "ada")
    trip("no", "grace")
    long_ago = now() - timedelta(days=3)
    StepAttempt.objects.filter(saga__business_key="ada").update(started_at=long_ago)

    ((group, *_),) = shown(viewer, period="1h").failures

    assert (group.sagas, group.first_at) == (1, long_ago)


def test_of_more_than_is_read_only_the_newest_are_counted_and_the_page_says_so(
    viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_ENDED", 2)
    for traveller in ("a", "b", "c", "d"):
        trip("yes", traveller)

    dashboard = shown(viewer)

    assert dashboard.window.cut
    assert dashboard.window.since == SagaInstance.objects.get(business_key="b").ended_at
    assert {what: of for what, _, of in dashboard.rates}["Ended"] == "3 sagas"
    assert "only the newest are counted" in text_of(client_of(viewer).get(DASHBOARD))


def test_the_oldest_locks_are_shown_with_who_holds_them(viewer: User) -> None:
    trip("down", "ada")
    trip("down", "grace")

    dashboard = shown(viewer)

    assert [(lock.resource_id, lock.saga.business_key) for lock, _ in dashboard.locks] == [
        ("ada", "ada"),
        ("grace", "grace"),
    ]


def test_the_chart_can_be_read_and_shown_in_numbers(viewer: User) -> None:
    trip("yes", "ada")
    trip("no", "grace")

    chart = shown(viewer).chart

    assert chart.words == (
        "In 1 h 0 min 2 sagas started and 2 ended: 1 completed, 1 compensated, 0 abandoned. At most 2 in 2 min."
    )
    assert [(piece.status, piece.height) for piece in chart.pieces] == [("completed", 65), ("compensated", 65)]
    assert chart.table[-1][1:] == (2, [("Completed", 1), ("Compensated", 1), ("Abandoned", 0)])
    assert 'aria-label="The chart in numbers"' not in text_of(client_of(viewer).get(DASHBOARD))
    assert 'aria-label="The chart in numbers"' in text_of(client_of(viewer).get(DASHBOARD, {"charts": "numbers"}))


# --- the address, the refreshing, the permission ---------------------------------------------------


def test_the_page_asks_for_itself_with_the_filters_of_its_address(viewer: User) -> None:
    client, query = client_of(viewer), {"period": "24h", "definition": "tests.visa"}

    whole = text_of(client.get(DASHBOARD, query))
    inside = text_of(client.get(DASHBOARD, query, headers={"HX-Request": "true"}))

    for text in (whole, inside):
        assert 'hx-get="/admin/sagas/?period=24h&amp;definition=tests.visa" hx-trigger="every 5s"' in text
    assert '<option value="24h" selected>' in whole
    assert inside.startswith('<div id="dashboard"')
    assert "<form" not in inside
    assert "hx-get" not in text_of(client.get(DASHBOARD, {"refresh": "no"}))


@pytest.mark.parametrize(("field", "value"), [("period", "1y"), ("definition", "no.such"), ("refresh", "x")])
def test_a_filter_that_is_no_choice_is_named_and_the_page_shown_without_it(
    viewer: User, field: str, value: str
) -> None:
    response = client_of(viewer).get(DASHBOARD, {field: value})

    assert response.status_code == 400
    assert list(response.context["asked"].errors) == [field]
    assert f"{value} is not one of the available choices." in text_of(response)
    assert response.context["dashboard"].period == "hour"


def test_only_who_may_view_sagas_sees_the_dashboard(db: None, viewer: User) -> None:
    nobody = client_of(staff("nobody", "retry_saga"))

    assert client_of(None).get(DASHBOARD).status_code == 302
    assert nobody.get(DASHBOARD).status_code == 403
    assert nobody.get(DASHBOARD, headers={"HX-Request": "true"}).status_code == 403
    assert client_of(viewer).get(DASHBOARD).status_code == 200
    assert client_of(viewer).post(DASHBOARD).status_code == 405
    assert f'href="{DASHBOARD}">Dashboard</a>' in text_of(client_of(viewer).get("/admin/"))
    assert "Dashboard" not in text_of(nobody.get("/admin/"))
    lists = text_of(client_of(viewer).get(DASHBOARD))
    assert 'href="/admin/sagas/sagainstance/">Sagas</a>' in lists
    assert "/admin/sagas/semanticlock/" not in lists  # who may not see the locks


def test_what_others_say_is_shown_as_text_and_the_page_has_no_script_or_style_in_it(viewer: User) -> None:
    trip("no", f"ada {MARKUP}")
    trip("down", f"grace {MARKUP}")

    text = text_of(client_of(viewer).get(DASHBOARD))

    assert MARKUP not in text
    assert "&lt;script&gt;" in text
    for word in ("<style", " style=", "<script>", " onclick="):
        assert word not in text


# --- what it costs --------------------------------------------------------------------------------


def statements(user: User, **query: str) -> list[str]:
    client = client_of(user)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(DASHBOARD, query).status_code == 200
    return [asked["sql"] for asked in captured]


def test_the_dashboard_asks_no_query_per_row(viewer: User) -> None:
    trip("down", "first")
    trip("no stamp", "stuck")
    with_few = len(statements(viewer))

    for number in range(5):
        trip("down", f"waits {number}")
        trip("no stamp", f"stuck {number}")

    assert len(statements(viewer)) == with_few


@pytest.mark.parametrize("query", [{"period": "7d"}, {"period": "1h", "definition": "tests.journey"}])
def test_with_many_finished_sagas_every_question_is_answered_by_an_index(
    viewer: User, monkeypatch: pytest.MonkeyPatch, query: dict[str, str]
) -> None:
    for bound in ("MOST_ENDED", "MOST_ATTEMPTS", "MOST_FAILURES"):
        monkeypatch.setattr(figures, bound, 100)  # as small a part of these tables as the real ones are of big tables
    monkeypatch.setattr("sagas.admin.dashboard.LOOKED_AT", 5)
    stuck = trip("no stamp")
    fill(
        "sagas_sagainstance",
        "id, definition, definition_version, business_key, data, status, backward, pivot_passed, generation, version,"
        " suspend_reason, attention, blocked_on, stalls, created_at, updated_at, ended_at",
        "uuidv7(-n * interval '1 hour'), 'shop.checkout', 1, 'S-' || n, '{}', 'COMPLETED', false, true, 1, 9,"
        " '', '', '', 0, now() - n * interval '1 hour', now(), now() - n * interval '1 hour'",
    )
    fill(
        "sagas_stepattempt",
        "saga_id, position, side, number, step, generation, worker, idempotency_key, started_at, ended_at, outcome,"
        " error_class, fingerprint, message, traceback",
        f"'{stuck.pk}', 1, 'action', n + 1, 'pay', 1, '', '', now() - n * interval '1 hour', now(), 'DONE', '',"
        " CASE WHEN n % 10 = 0 THEN 'f' || n % 3 ELSE '' END, '', ''",
    )

    plans = []
    for statement in statements(viewer, **query):
        if "sagas_sagainstance" in statement or "sagas_stepattempt" in statement:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {statement}")
                plans.append("\n".join(line for (line,) in cursor.fetchall()))

    assert len(plans) >= 10
    big = ("Seq Scan on sagas_sagainstance", "Seq Scan on sagas_stepattempt")
    assert [plan for plan in plans if any(table in plan for table in big)] == []
    assert SagaInstance.objects.count() > ENOUGH
