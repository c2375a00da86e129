"""Deploys and retention: which live sagas this code carries on, and which ended ones go."""

from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now

from sagas import definition, lifecycle
from sagas.driver import drain_due
from sagas.lifecycle import inflight, purge, purge_ended, purge_signals
from sagas.models import (
    LockWaiter,
    Operation,
    SagaEvent,
    SagaInstance,
    SagaStep,
    SemanticLock,
    Signal,
    StepAttempt,
)
from sagas.outcomes import Refused, Transient
from sagas.services import signal
from tests.sagas.conftest import begin_trip, run_trip
from tests.sagas.plans import Parcel, Return, Trip, World, inspection, parcel_back
from tests.sagas.test_signals import begin_return

DAY = timedelta(days=1)


def end_long_ago(saga: SagaInstance, days: int = 40) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_sagainstance SET ended_at = ended_at - %s WHERE id = %s", [days * DAY, saga.pk])


def waiting_trip(world: World, number: str = "T1") -> SagaInstance:
    world.raises("book_flight", Transient("not now", timedelta(hours=1)))
    saga = begin_trip(number)
    drain_due()
    saga.refresh_from_db()
    assert saga.status == "WAITING"
    return saga


def test_live_sagas_are_told_in_groups_that_stand_alike(world: World):
    waiting_trip(world, "T1")
    waiting_trip(world, "T2")
    begin_trip("T3")

    groups = inflight()

    assert [(group.count, group.steps[-1:], group.can_go_on) for group in groups] == [
        (2, ("book_flight",), True),
        (1, (), True),
    ]


def test_code_without_the_plan_stops_the_deploy_and_then_the_saga(
    world: World, no_deploy: None, monkeypatch: pytest.MonkeyPatch
):
    saga = waiting_trip(world)
    out = StringIO()
    call_command("sagas", "check_inflight", stdout=out)
    assert out.getvalue() == "test.trip version 1, 1 at book_flight (such as T1): goes on\n"

    monkeypatch.delitem(definition.registry, ("test.trip", 1))
    with pytest.raises(CommandError, match="1 live saga would be suspended"):
        call_command("sagas", "check_inflight", stdout=out)
    assert "STOPS" in out.getvalue()

    SagaInstance.objects.update(wake_at=saga.created_at)
    drain_due()
    saga.refresh_from_db()
    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "DEFINITION_MISMATCH")


def test_a_new_version_carries_on_what_began_with_the_same_steps_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    waiting_trip(world)
    plan = definition.registry["test.trip", 1]
    monkeypatch.delitem(definition.registry, ("test.trip", 1))

    class Longer(Trip):
        version = 2
        steps = Trip.steps[:-1]

    assert inflight()[0].can_go_on

    class Shuffled(Trip):
        version = 3
        steps = (Trip.steps[0], Trip.steps[2], Trip.steps[1], *Trip.steps[3:])

    assert not inflight()[0].can_go_on
    for version in (2, 3):
        del definition.registry["test.trip", version]
    assert plan.version == 1


def test_what_ended_long_ago_goes_with_all_its_rows_and_the_rest_stays(world: World):
    old = run_trip("T1")
    young = run_trip("T2")
    live = waiting_trip(world, "T3")
    end_long_ago(old)

    assert purge(after=30 * DAY) == 1

    assert set(SagaInstance.objects.values_list("pk", flat=True)) == {young.pk, live.pk}
    for rows in (SagaStep, StepAttempt, SagaEvent):
        assert not rows.objects.filter(saga_id=old.pk).exists()
        assert rows.objects.filter(saga_id=young.pk).exists()


def test_the_signals_of_a_saga_go_with_it(world: World):
    saga = begin_return("R1")
    drain_due()
    SagaInstance.objects.update(wake_at=saga.created_at, deadline_at=None)
    SagaStep.objects.filter(name="parcel_back").update(due_at=saga.created_at)
    drain_due()
    signal(Return, "R1", parcel_back, Parcel(1), dedup_id="late")
    SagaInstance.objects.update(attention="")
    end_long_ago(saga)

    assert purge(after=30 * DAY) == 1

    assert not Signal.objects.exists()


def test_a_signal_whose_saga_never_came_goes_when_it_is_as_old_as_sagas_get(world: World, settings):
    settings.SAGAS_KEEP_DAYS = 30
    begin_return("waits")
    for number, key in enumerate(("nobody", "nobody", "nobody", "waits", "young")):
        signal(Return, key, inspection, "good", dedup_id=str(number))
    Signal.objects.exclude(business_key="young").update(received_at=Now() - 31 * DAY)

    assert purge_signals(batch=2) == 3

    assert set(Signal.objects.values_list("business_key", flat=True)) == {"waits", "young"}
    Signal.objects.filter(business_key="young").update(received_at=Now() - 31 * DAY)
    assert purge_ended() == {"purged": 0, "signals": 1, "denials": 0}


def test_the_purge_of_signals_reads_only_those_that_are_kept(world: World):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sagas_signal (definition, business_key, name, dedup_id, payload, received_at, consumed_at,"
            " late) SELECT 'x', n, 'y', 'z', '1', now(), now(), '' FROM generate_series(1, 5000) n"
        )
        cursor.execute("ANALYZE sagas_signal")
        cursor.execute(f"EXPLAIN {lifecycle._PURGE_SIGNALS}", [86400, 1000])
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "signal_buffered" in plan


@pytest.mark.parametrize("touched", ["operation", "attention", "waived"])
def test_what_a_person_touched_is_kept_longer(world: World, touched: str):
    world.raises("pay", Refused("no", "no"))
    saga = run_trip("T1")
    assert saga.status == "COMPENSATED"
    end_long_ago(saga)
    if touched == "operation":
        operator = User.objects.create_user("ada")
        Operation.objects.create(
            id=uuid4(), saga=saga, name="retry", actor=operator, reason="x", at=saga.created_at, version_after=1
        )
    elif touched == "waived":
        SagaStep.objects.filter(name="reserve_seat").update(compensation="WAIVED")
    else:
        SagaInstance.objects.update(attention="look at this")

    assert purge(after=30 * DAY, touched_after=365 * DAY) == 0
    assert purge(after=30 * DAY, touched_after=35 * DAY) == 1


def test_an_abandoned_saga_stays_for_good(world: World):
    saga = run_trip("T1")
    end_long_ago(saga, days=4_000)
    SagaInstance.objects.update(status="ABANDONED")

    assert purge(after=30 * DAY, touched_after=365 * DAY) == 0

    assert SagaInstance.objects.get() == saga


def test_a_cause_is_kept_as_long_as_its_effect(world: World):
    cause, effect = run_trip("T1"), run_trip("T2")
    SagaInstance.objects.filter(pk=effect.pk).update(caused_by=cause)
    end_long_ago(cause)

    assert purge(after=30 * DAY) == 0
    end_long_ago(effect)
    assert purge(after=30 * DAY, batch=1) == 2


def test_an_ended_saga_that_kept_a_lock_or_its_place_in_line_does_not_stop_the_purge_of_others(world: World):
    """No code of today leaves one behind; the rows may be older."""
    for number in ("T1", "T2", "T3"):
        end_long_ago(run_trip(number))
    holder, waiter = SagaInstance.objects.filter(business_key__in=["T1", "T2"]).order_by("business_key")
    SemanticLock.objects.create(resource_type="trip", resource_id="T1", saga=holder, taken_at=Now())
    LockWaiter.objects.create(resource_type="trip", resource_id="T1", saga=waiter, since=Now())

    assert purge(after=30 * DAY) == 1

    assert list(SagaInstance.objects.order_by("business_key")) == [holder, waiter]


def test_purging_goes_on_batch_by_batch(world: World):
    for number in range(5):
        end_long_ago(run_trip(f"T{number}"))
    out = StringIO()

    call_command("sagas", "purge", "--days", "30", "--batch", "2", stdout=out)

    assert out.getvalue() == "5 ended sagas are gone.\n"
    assert not SagaInstance.objects.exists()


@pytest.mark.parametrize("wrong", [("--days", "-1"), ("--touched-days", "-1"), ("--days", "9" * 12), ("--batch", "0")])
def test_a_purge_of_what_has_not_ended_yet_or_of_empty_batches_is_a_wrong_command_line(
    world: World, monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, str]
) -> None:
    monkeypatch.setattr(lifecycle, "purge", lambda **arguments: pytest.fail(f"it purges: {arguments}"))

    with pytest.raises(CommandError, match=f"argument {wrong[0]}: a whole number from [01] to "):
        call_command("sagas", "purge", *wrong)


def test_the_purge_rests_after_each_batch_many_times_as_long_as_the_batch_took(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    for number in range(5):
        end_long_ago(run_trip(f"T{number}"))
    # A clock on which every batch takes two seconds, and a rest takes none.
    clock = iter(range(0, 100, 2))
    rests: list[float] = []
    monkeypatch.setattr("sagas.lifecycle.monotonic", lambda: next(clock))
    monkeypatch.setattr("sagas.lifecycle.sleep", rests.append)

    assert purge(batch=2, rest=14) == 5
    assert rests == [28, 28]
