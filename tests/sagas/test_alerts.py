"""Alerts: found once, told once, over when the trouble is, and nobody is told twice of the same."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sagas import driver
from sagas.engine import record
from sagas.models import PeriodicJob, SagaInstance, SemanticLock
from sagas.monitoring import alerts, conditions
from sagas.monitoring.alerts import look, watch_over_sweepers
from sagas.monitoring.models import Alert, AlertMessage, Condition
from sagas.monitoring.playbook import PLAYBOOK
from sagas.outcomes import Outcome, OutcomeKind, Refused
from sagas.states import SuspendReason
from tests.plans_of_lists import fill
from tests.racing import race
from tests.sagas.conftest import begin_call, begin_trip, run, run_trip
from tests.sagas.plans import World
from tests.sagas.rows import make_due
from tests.sagas.test_lifecycle import waiting_trip

NOTHING = {"open": 0, "opened": 0, "resolved": 0}


@pytest.fixture(autouse=True)
def channels(settings: Any) -> None:
    settings.SAGAS_ALERT_EMAILS = ["oncall@example.org"]
    settings.SAGAS_ALERT_WEBHOOK_URL = ""


def stuck_trip(world: World, number: str = "T1") -> SagaInstance:
    """A compensation failed for good."""
    world.raises("pay", Refused("declined", "no money"))
    world.raises("cancel_flight", Refused("closed", "the airline says no"))
    saga = run_trip(number)
    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "COMPENSATION_FAILED")
    return saga


def settle() -> None:
    """Whatever a person did about it, no saga needs one any more."""
    SagaInstance.objects.update(status="COMPENSATED", suspend_reason="", attention="", ended_at="2026-01-01T00:00Z")


def only() -> Alert:
    return Alert.objects.get()


def age(table: str, column: str, by: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = {column} - %s::interval", [by])


def test_sagas_that_go_well_raise_nothing(world: World):
    run_trip("T1")
    waiting_trip(world, "T2")

    assert look() == NOTHING
    assert not Alert.objects.exists()


def test_a_failed_compensation_is_told_once_while_it_lasts(world: World):
    saga = stuck_trip(world)

    assert look() == {"open": 1, "opened": 1, "resolved": 0}
    assert look() == {"open": 1, "opened": 0, "resolved": 0}

    alert = only()
    assert (alert.condition, alert.code, alert.saga_id, alert.count) == (
        "COMPENSATION_FAILED", "COMPENSATION_FAILED", saga.pk, 1,
    )  # fmt: skip
    assert alert.subject == "test.trip T1: compensation of book_flight"
    assert "the airline says no" in alert.message
    assert list(AlertMessage.objects.values_list("channel", "news")) == [("mail", "opened")]


def test_an_alert_is_over_when_its_trouble_is(world: World):
    stuck_trip(world)
    look()
    settle()

    assert look() == {"open": 0, "opened": 0, "resolved": 1}

    assert only().resolved_at is not None
    assert list(AlertMessage.objects.values_list("news", flat=True)) == ["opened", "resolved"]
    assert look() == NOTHING


def test_a_trouble_that_comes_back_is_a_new_alert(world: World):
    stuck_trip(world, "T1")
    look()
    settle()
    look()
    stuck_trip(world, "T2")

    assert look() == {"open": 1, "opened": 1, "resolved": 0}
    assert Alert.objects.count() == 2


def test_sagas_that_fail_alike_share_an_alert(world: World):
    stuck_trip(world, "T1")
    look()
    stuck_trip(world, "T2")

    assert look() == {"open": 1, "opened": 0, "resolved": 0}
    alert = only()
    assert (alert.count, alert.subject) == (2, "test.trip T1, T2: compensation of book_flight")


def test_sagas_that_fail_in_other_ways_have_alerts_of_their_own(world: World):
    stuck_trip(world, "T1")
    world.raises("reserve_seat", *[ValueError("a bug")] * 9)
    assert run_trip("T2").suspend_reason == "RETRIES_EXHAUSTED"

    assert look()["opened"] == 2
    assert set(Alert.objects.filter(resolved_at=None).values_list("condition", "code")) == {
        ("COMPENSATION_FAILED", "COMPENSATION_FAILED"),
        ("STUCK", "RETRIES_EXHAUSTED"),
    }


def test_a_pause_by_an_operator_is_no_alert(world: World):
    begin_trip()
    SagaInstance.objects.update(status="SUSPENDED", suspend_reason="OPERATOR_PAUSE", wake_at=None)

    assert look() == NOTHING


def test_attention_is_an_alert_until_it_is_reviewed(world: World):
    run_trip()
    SagaInstance.objects.update(attention="money came when it was over")

    look()

    assert (only().condition, only().code, only().message) == ("STUCK", "ATTENTION", "money came when it was over")
    assert only().subject == "test.trip T1"
    SagaInstance.objects.update(attention="")
    assert look()["resolved"] == 1


def test_attention_of_one_kind_is_one_alert_whatever_it_names(world: World):
    for number, attention in (
        ("T1", "captured pi_1 late"),
        ("T2", "captured pi_2 late"),
        ("T3", "left behind: a seat"),
    ):
        SagaInstance.objects.filter(pk=run_trip(number).pk).update(attention=attention)

    look()

    assert sorted(Alert.objects.filter(resolved_at=None).values_list("count", flat=True)) == [1, 2]


def unknown_trip(world: World) -> None:
    begin_trip()
    call = begin_call(SagaInstance.objects.get())
    record(call, Outcome(OutcomeKind.UNKNOWN, message="no answer", definite=False))


def test_an_outcome_that_nobody_knows_is_an_alert_after_a_while(world: World):
    unknown_trip(world)
    assert look() == NOTHING
    age("sagas_sagaevent", "at", "16 minutes")

    look()

    assert (only().condition, only().count) == ("OUTCOME_UNKNOWN", 1)
    run()
    assert look()["resolved"] == 1


def test_a_lock_is_too_old_when_its_holder_does_not_wait_by_plan(world: World):
    saga = waiting_trip(world)
    age("sagas_semanticlock", "taken_at", "25 hours")
    by_plan = {"kind": "human", "step": "look", "until": "2099-01-01T00:00:00+00:00", "side": "action", "why": ""}
    SagaInstance.objects.update(waiting_on=by_plan)
    assert look() == NOTHING

    SagaInstance.objects.update(waiting_on=by_plan | {"until": "2020-01-01T00:00:00+00:00"})
    look()

    alert = only()
    assert (alert.condition, alert.saga_id, alert.subject) == (
        "LOCK_TOO_OLD", saga.pk, f"{SemanticLock.objects.get()}: held by test.trip",
    )  # fmt: skip


@pytest.mark.parametrize("rules", [1, 2])
def test_what_the_auditor_found_is_an_alert_for_each_rule(world: World, rules: int):
    saga = run_trip()
    violation = {"subject": "T1", "found": "3", "expected": "4", "saga": str(saga.pk)}
    found = [violation | {"rule": f"Rule {number % rules}."} for number in range(4)]
    job("sagas.audit.audit_lately", last_result={"violations": found, "orphans": []})

    look()

    assert set(Alert.objects.values_list("condition", "subject", "count", "saga_id")) == {
        ("AUDIT_VIOLATION", f"Rule {number}.", 4 // rules, saga.pk) for number in range(rules)
    }


def job(name: str, **values: Any) -> PeriodicJob:
    now = {"last_started_at": _now(), "last_ended_at": _now()}
    return PeriodicJob.objects.create(name=name, **now | values)


def _now() -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


@pytest.mark.parametrize("error", ["OperationalError: away", "several runs did not come back"])
@pytest.mark.parametrize("ends", ["ended", "runs again"])
def test_a_job_that_failed_is_an_alert_also_while_its_next_run_is_under_way(world: World, error: str, ends: str):
    job("shop.some_job", last_error=error, **({} if ends == "ended" else {"last_ended_at": None}))

    look()

    assert (only().condition, only().subject, only().message) == ("JOB_FAILED", "shop.some_job", error)


def test_one_run_that_died_with_its_process_is_no_alert(world: World):
    job("shop.some_job", last_error="the run before did not come back", last_ended_at=None)

    assert look() == NOTHING


def test_due_sagas_that_nobody_takes_up_are_one_alert(world: World):
    for number in ("T1", "T2"):
        make_due(begin_trip(number), since="6 minutes")

    look()

    assert (only().condition, only().count, only().saga_id) == ("WORKERS_SILENT", 2, None)


def test_a_sweeper_that_is_silent_is_told_by_a_worker(
    world: World, monkeypatch: pytest.MonkeyPatch, mailoutbox: list[Any]
):
    job("sagas.audit.audit_lately", last_started_at=_now() - timedelta(minutes=4))
    rounds = iter([False, False, True])
    monkeypatch.setattr(alerts, "LOOK_S", 0.0)
    monkeypatch.setattr(driver, "stopping", lambda: next(rounds))

    watch_over_sweepers()

    assert only().condition == "SWEEPER_SILENT"
    assert [mail.subject for mail in mailoutbox] == ["[ALERT] sweeper silent: no sweeper runs"]


def test_the_watch_over_sweepers_goes_on_after_a_look_that_failed(
    world: World, monkeypatch: pytest.MonkeyPatch, mailoutbox: list[Any], caplog: pytest.LogCaptureFixture
):
    job("sagas.audit.audit_lately", last_started_at=_now() - timedelta(minutes=4))
    rounds, looks = iter([False, False, False, True]), iter([RuntimeError("a bug"), None])

    def look_or_fail() -> dict[str, int]:
        if error := next(looks, None):
            raise error
        return look()

    monkeypatch.setattr(alerts, "look", look_or_fail)
    monkeypatch.setattr(alerts, "LOOK_S", 0.0)
    monkeypatch.setattr(driver, "stopping", lambda: next(rounds))

    watch_over_sweepers()

    assert "RuntimeError: a bug" in caplog.text
    assert [mail.subject for mail in mailoutbox] == ["[ALERT] sweeper silent: no sweeper runs"]


def test_while_a_sweeper_runs_workers_look_at_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch):
    job("sagas.audit.audit_lately")
    stuck_trip(world)
    rounds = iter([False, True])
    monkeypatch.setattr(alerts, "LOOK_S", 0.0)
    monkeypatch.setattr(driver, "stopping", lambda: next(rounds))

    watch_over_sweepers()

    assert not Alert.objects.exists()


def test_of_several_that_look_at_once_one_opens_the_alert(world: World):
    stuck_trip(world)

    opened = [result["opened"] for result in race([look] * 4)]

    assert sorted(opened) == [0, 0, 0, 1]
    assert AlertMessage.objects.count() == 1


def test_a_finder_that_fails_is_told_and_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    stuck_trip(world)
    look()
    age("sagas_semanticlock", "taken_at", "25 hours")

    def broken() -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM sagas_alert")
        return []

    about = conditions.FINDERS[conditions.find_sagas_for_a_person]
    others = {find: of for find, of in conditions.FINDERS.items() if find is not conditions.find_sagas_for_a_person}
    monkeypatch.setattr(conditions, "FINDERS", {broken: about, **others})
    assert look() == {"open": 2, "opened": 2, "resolved": 0}

    opened = Alert.objects.filter(resolved_at=None)
    assert set(opened.values_list("condition", "subject")) >= {("JOB_FAILED", "the look for alerts: broken")}
    assert set(opened.values_list("condition", flat=True)) == {"COMPENSATION_FAILED", "LOCK_TOO_OLD", "JOB_FAILED"}
    assert "no_such_column" in opened.get(condition="JOB_FAILED").message
    assert "broken failed" in caplog.text
    monkeypatch.undo()
    assert look()["resolved"] == 1


def test_a_trouble_that_many_newer_ones_push_out_of_sight_is_not_over(world: World, monkeypatch: pytest.MonkeyPatch):
    stuck_trip(world, "T1")
    look()
    monkeypatch.setattr(conditions, "MOST", 2)
    for number in ("T2", "T3"):
        SagaInstance.objects.filter(pk=run_trip(number).pk).update(attention="late")

    assert look() == {"open": 1, "opened": 1, "resolved": 0}

    assert Alert.objects.get(condition="COMPENSATION_FAILED").resolved_at is None
    monkeypatch.undo()
    SagaInstance.objects.filter(business_key="T1").update(
        status="COMPENSATED", suspend_reason="", attention="", ended_at="2026-01-01T00:00Z"
    )
    assert look()["resolved"] == 1


def test_locks_that_are_held_by_plan_hide_no_other(world: World, monkeypatch: pytest.MonkeyPatch):
    by_plan = waiting_trip(world, "T1")
    overdue = waiting_trip(world, "T2")
    age("sagas_semanticlock", "taken_at", "25 hours")
    waits = {"kind": "human", "step": "look", "side": "action", "why": ""}
    for saga, until in ((by_plan, "2099-01-01T00:00:00+00:00"), (overdue, "2020-01-01T00:00:00+00:00")):
        SagaInstance.objects.filter(pk=saga.pk).update(waiting_on=waits | {"until": until})
    monkeypatch.setattr(conditions, "MOST", 1)

    look()

    assert (only().condition, only().saga_id) == ("LOCK_TOO_OLD", overdue.pk)


def test_alerts_that_were_over_long_ago_go_with_their_messages(world: World, settings: Any):
    stuck_trip(world)
    look()
    Alert.objects.update(resolved_at=_now() - timedelta(days=366))

    assert alerts.forget_resolved() == {"forgotten": 1}
    assert not AlertMessage.objects.exists()


def test_every_code_has_a_page_in_the_playbook():
    kinds = set(OutcomeKind) - {OutcomeKind.DONE}
    of_conditions = set(Condition) - {Condition.STUCK}

    assert set(PLAYBOOK) == {*SuspendReason, *kinds, *of_conditions, "ATTENTION"}
    assert all(play.steps and play.meaning.endswith(".") for play in PLAYBOOK.values())


def test_a_look_reads_through_indexes(world: World):
    fill(
        "sagas_sagainstance",
        "id, definition, definition_version, business_key, data, status, backward, pivot_passed, generation, version,"
        " suspend_reason, attention, blocked_on, stalls, created_at, updated_at, ended_at",
        "gen_random_uuid(), 'shop.checkout', 1, 'S-' || n, '{}', 'COMPLETED', false, true, 1, 9,"
        " '', '', '', 0, now(), now(), now()",
    )
    fill(
        "sagas_semanticlock",
        "resource_type, resource_id, taken_at",
        "'shop.order', 'S-' || n, now()",
    )
    with CaptureQueriesContext(connection) as captured:
        look()
    reads = [q["sql"] for q in captured if "sagas_sagainstance" in q["sql"] or "sagas_semanticlock" in q["sql"]]

    assert len(reads) == 4
    with connection.cursor() as cursor:
        for statement in reads:
            cursor.execute(f"EXPLAIN {statement}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan on sagas_sagainstance" not in plan, plan
            assert "Seq Scan on sagas_semanticlock" not in plan, plan
