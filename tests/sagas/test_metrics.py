"""What is exported of the sagas, and that asking for it stays cheap."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from prometheus_client import CollectorRegistry

from sagas import periodic
from sagas.audit import audit_lately
from sagas.engine import record
from sagas.models import PeriodicJob, SagaInstance, SemanticLock
from sagas.monitoring import tally
from sagas.monitoring.metrics import METRICS, SagaCollector
from sagas.outcomes import Outcome, OutcomeKind, Refused, Transient
from sagas.periodic import Job
from sagas.steps import minutes
from tests.plans_of_lists import fill
from tests.sagas.conftest import begin_call, begin_trip, run, run_trip
from tests.sagas.plans import World
from tests.sagas.rows import make_due
from tests.sagas.test_lifecycle import waiting_trip

TRIP = {"definition": "test.trip"}


@pytest.fixture
def registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(SagaCollector())
    return registry


def test_what_became_of_sagas_is_counted_by_definition(world: World, registry: CollectorRegistry):
    run_trip("T1")
    world.raises("book_flight", Refused("full", "no seat"))
    run_trip("T2")
    waiting_trip(world, "T3")

    assert registry.get_sample_value("saga_started_total", TRIP) == 3
    assert registry.get_sample_value("saga_success_total", TRIP) == 1
    assert registry.get_sample_value("saga_failures_total", TRIP | {"outcome": "compensated"}) == 1
    assert registry.get_sample_value("saga_failures_total", TRIP | {"outcome": "abandoned"}) == 0
    assert registry.get_sample_value("saga_live", TRIP | {"status": "waiting"}) == 1


def test_what_has_not_happened_yet_is_counted_from_zero(world: World, registry: CollectorRegistry):
    for name in ("saga_started_total", "saga_success_total"):
        assert registry.get_sample_value(name, TRIP) == 0
    assert registry.get_sample_value("compensation_success_total", TRIP | {"step": "book_flight"}) == 0
    assert registry.get_sample_value("compensation_success_total", TRIP | {"step": "pay"}) is None


def test_the_duration_of_a_saga_is_a_histogram(world: World, registry: CollectorRegistry):
    for number, took in (("T1", 2), ("T2", 40)):
        saga = run_trip(number)
        SagaInstance.objects.filter(pk=saga.pk).update(created_at=saga.ended_at - timedelta(seconds=took))
    completed = TRIP | {"outcome": "completed"}

    assert registry.get_sample_value("saga_duration_seconds_bucket", completed | {"le": "1"}) == 0
    assert registry.get_sample_value("saga_duration_seconds_bucket", completed | {"le": "2.5"}) == 1
    assert registry.get_sample_value("saga_duration_seconds_bucket", completed | {"le": "60"}) == 2
    assert registry.get_sample_value("saga_duration_seconds_bucket", completed | {"le": "+Inf"}) == 2
    assert registry.get_sample_value("saga_duration_seconds_sum", completed) == 42
    assert registry.get_sample_value("saga_duration_seconds_count", completed) == 2


def test_steps_and_compensations_are_counted_by_attempts(world: World, registry: CollectorRegistry):
    world.raises("pay", Refused("declined", "no money"))
    world.raises("cancel_flight", Transient("later", timedelta(milliseconds=1)))
    run_trip()
    flight, paying = TRIP | {"step": "book_flight"}, TRIP | {"step": "pay", "side": "action"}

    assert registry.get_sample_value("saga_step_failures_total", paying | {"outcome": "refused"}) == 1
    assert registry.get_sample_value("saga_step_duration_seconds_count", paying) == 1
    assert registry.get_sample_value("compensation_success_total", flight) == 1
    assert registry.get_sample_value("compensation_failures_total", flight | {"outcome": "transient"}) == 1


def test_a_local_step_has_a_duration(world: World, registry: CollectorRegistry):
    world.does("reserve_seat", lambda: _sleep(0.03))
    run_trip()

    labels = TRIP | {"step": "reserve_seat", "side": "action"}
    assert registry.get_sample_value("saga_step_duration_seconds_sum", labels) >= 0.03
    assert registry.get_sample_value("saga_step_duration_seconds_bucket", labels | {"le": "0.025"}) == 0


def _sleep(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])


def test_what_waits_and_for_how_long(world: World, registry: CollectorRegistry):
    saga = begin_trip()
    make_due(saga, since="100 s")
    SemanticLock.objects.update(taken_at=saga.created_at - minutes(5))

    assert registry.get_sample_value("saga_due") == 1
    assert 100 <= registry.get_sample_value("saga_oldest_due_seconds") < 130
    assert registry.get_sample_value("saga_locks_held") == 1
    assert 300 <= registry.get_sample_value("saga_lock_oldest_seconds") < 330
    assert registry.get_sample_value("saga_attention") == 0


def test_an_outcome_that_nobody_knows_is_counted_until_it_is_settled(world: World, registry: CollectorRegistry):
    begin_trip()
    call = begin_call(SagaInstance.objects.get())
    record(call, Outcome(OutcomeKind.UNKNOWN, message="no answer", definite=False))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_sagaevent SET at = at - interval '10 minutes'")

    assert registry.get_sample_value("saga_outcome_unknown") == 1
    assert 600 <= registry.get_sample_value("saga_outcome_unknown_oldest_seconds") < 630
    run()
    assert registry.get_sample_value("saga_outcome_unknown") == 0
    assert registry.get_sample_value("saga_outcome_unknown_oldest_seconds") == 0


def test_suspended_sagas_need_a_person(world: World, registry: CollectorRegistry):
    begin_trip()
    SagaInstance.objects.update(status="SUSPENDED", suspend_reason="COMPENSATION_FAILED", wake_at=None)

    assert registry.get_sample_value("saga_attention") == 1
    assert registry.get_sample_value("saga_suspended", {"reason": "compensation_failed"}) == 1
    assert registry.get_sample_value("saga_suspended", {"reason": "operator_pause"}) == 0


def test_the_sweeper_and_the_auditor_are_heard_of(
    world: World, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
):
    assert registry.get_sample_value("saga_sweeper_last_run_timestamp_seconds") is None
    name = "sagas.audit.audit_lately"
    monkeypatch.setattr(periodic, "registry", [Job(name, audit_lately, minutes(1), minutes(1))])
    begin_trip()
    make_due(SagaInstance.objects.get(), since="6 minutes")
    for thread in periodic.run_due():
        thread.join(30)
    job = PeriodicJob.objects.get()

    started = registry.get_sample_value("saga_sweeper_last_run_timestamp_seconds")
    assert started == pytest.approx(job.last_started_at.timestamp())
    ended = registry.get_sample_value("saga_periodic_last_success_timestamp_seconds", {"job": name})
    assert ended == pytest.approx(job.last_ended_at.timestamp())
    assert registry.get_sample_value("saga_audit_violations", {"job": name}) == 1


def test_a_scrape_answers_with_every_metric_in_one_snapshot(world: World):
    with CaptureQueriesContext(connection) as captured:
        found = list(SagaCollector().collect())

    assert {metric.name for metric in found} == set(METRICS)
    statements = [query["sql"] for query in captured]
    assert statements[0] == "BEGIN"
    assert "REPEATABLE READ, READ ONLY" in statements[1]
    assert statements[-1] == "COMMIT"
    assert len(statements) <= 16


def test_no_scrape_reads_what_ended_and_was_counted(world: World):
    fill(
        "sagas_sagainstance",
        "id, definition, definition_version, business_key, data, status, backward, pivot_passed, generation, version,"
        " suspend_reason, attention, blocked_on, stalls, created_at, updated_at, ended_at",
        "gen_random_uuid(), 'shop.checkout', 1, 'S-' || n, '{}', 'COMPLETED', false, true, 1, 9,"
        " '', '', '', 0, now(), now(), now()",
    )
    fill(
        "sagas_stepattempt",
        "saga_id, position, side, number, step, generation, worker, idempotency_key, started_at, ended_at, outcome,"
        " error_class, fingerprint, message, traceback",
        "gen_random_uuid(), 1, 'action', 1, 'reserve_stock', 1, 'w', 'k', now(), now(), 'DONE', '', '', '', ''",
    )
    fill(
        "sagas_sagastep",
        "saga_id, position, name, kind, action, compensation, action_attempts, compensation_attempts, failures, token,"
        " error, updated_at",
        "gen_random_uuid(), 1, 'reserve_stock', 'COMPENSATABLE', 'SUCCEEDED', 'NOT_NEEDED', 1, 0, 0, 0, '', now()",
    )
    tally.count_new()
    with CaptureQueriesContext(connection) as captured:
        list(SagaCollector().collect())
    reads = [query["sql"] for query in captured if "sagas_saga" in query["sql"] or "sagas_step" in query["sql"]]

    assert len(reads) == 6
    with connection.cursor() as cursor:
        for statement in reads:
            cursor.execute(f"EXPLAIN {statement}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            for big in ("sagas_sagainstance", "sagas_sagastep", "sagas_stepattempt"):
                assert f"Seq Scan on {big}" not in plan, plan
            assert "Index" in plan
