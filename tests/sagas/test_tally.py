"""Sums over all sagas that ever were: nothing is missed, nothing counted twice, whatever happens in between."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from sagas.audit import one_snapshot
from sagas.engine import record
from sagas.lifecycle import purge
from sagas.models import SagaInstance, StepAttempt
from sagas.monitoring import tally
from sagas.monitoring.models import Tally, TallyMark
from sagas.outcomes import Refused, Transient
from sagas.steps import seconds
from tests.racing import race
from tests.sagas.conftest import begin_call, begin_trip, run, run_trip
from tests.sagas.plans import World
from tests.sagas.test_lifecycle import end_long_ago


def counts(step: str = "", side: str = "") -> dict[str, int]:
    """How many of each outcome, as a scrape sees it."""
    found: Counter[str] = Counter()
    with one_snapshot(seconds(5)):
        for one in tally.sums():
            if (one.step, one.side) == (step, side):
                found[one.outcome] += one.count
    return dict(found)


def test_what_ended_is_in_the_sums_before_and_after_it_is_counted(world: World):
    run_trip("T1")
    world.raises("book_flight", Refused("full", "no seat"))
    run_trip("T2")

    assert counts() == {"COMPLETED": 1, "COMPENSATED": 1}
    assert counts("book_flight", "action") == {"DONE": 1, "REFUSED": 1}
    assert tally.count_new()
    assert counts() == {"COMPLETED": 1, "COMPENSATED": 1}
    assert counts("book_flight", "action") == {"DONE": 1, "REFUSED": 1}
    assert Tally.objects.filter(step="").count() == 2


def test_counting_again_changes_nothing(world: World):
    run_trip()
    tally.count_new()
    before = list(Tally.objects.order_by("id").values())

    assert tally.count_new()

    assert list(Tally.objects.order_by("id").values()) == before


def test_the_sums_outlive_the_sagas(world: World):
    saga = run_trip("T1")
    run_trip("T2")
    end_long_ago(saga)

    assert purge() == 1

    assert SagaInstance.objects.count() == 1
    assert counts() == {"COMPLETED": 2}
    assert counts("book_flight", "action") == {"DONE": 2}


def test_the_purge_leaves_what_could_not_be_counted(world: World, monkeypatch: pytest.MonkeyPatch):
    end_long_ago(run_trip())
    monkeypatch.setattr(tally, "PATIENCE_S", 0.05)
    with other_writer():
        assert purge() == 0

    assert purge() == 1
    assert counts() == {"COMPLETED": 2}  # the other writer's, too


def test_an_attempt_that_is_open_while_others_are_counted_is_counted_when_it_has_ended(world: World):
    begin_trip("T1")
    call = begin_call(SagaInstance.objects.get())
    step = call.step.name
    tally.count_new()
    mark = TallyMark.objects.get()
    assert mark.open_attempts == [StepAttempt.objects.get(step=step).pk]
    assert counts(step, "action") == {}

    record(call, call.make())
    assert counts(step, "action") == {"DONE": 1}
    tally.count_new()

    assert counts(step, "action") == {"DONE": 1}
    assert TallyMark.objects.get().open_attempts == []


def test_failures_of_a_saga_that_goes_on_failing_are_counted_while_it_lives(world: World):
    world.raises("book_flight", Transient("not now", timedelta(milliseconds=1)), Transient("no", timedelta(hours=1)))
    begin_trip()
    run()

    assert counts() == {}
    assert counts("book_flight", "action") == {"TRANSIENT": 2}


def test_what_another_transaction_may_still_add_to_is_not_counted_yet(world: World, monkeypatch: pytest.MonkeyPatch):
    run_trip("T1")
    monkeypatch.setattr(tally, "PATIENCE_S", 0.05)

    with other_writer() as finish:
        assert not tally.count_new()
        assert not Tally.objects.exists()
        finish()
    assert counts() == {"COMPLETED": 2}
    assert tally.count_new()

    assert counts() == {"COMPLETED": 2}


def test_a_saga_whose_end_is_committed_late_is_not_missed(world: World):
    """Its ``ended_at`` lies before that of others which were committed, and counted, before it."""
    late = run_trip("T1")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_sagainstance SET status = 'RUNNING', wake_at = now(), ended_at = NULL")
    counted = threading.Event()

    with other_writer(f"UPDATE sagas_sagainstance SET status = 'COMPLETED', wake_at = NULL, "
                      f"ended_at = clock_timestamp() WHERE id = '{late.pk}'") as finish:  # fmt: skip
        run_trip("T2")
        thread = threading.Thread(target=lambda: (tally.count_new() and counted.set(), connections.close_all()))
        thread.start()
        assert not counted.wait(0.1)
        finish()
        thread.join(30)

    assert counted.is_set()
    assert sum(one.count for one in Tally.objects.filter(step="")) == 2


def test_of_several_that_count_at_once_each_saga_is_counted_by_one(world: World):
    for number in range(6):
        run_trip(f"T{number}")

    assert race([tally.count_new] * 4) == [True] * 4

    assert sum(one.count for one in Tally.objects.filter(step="")) == 6
    assert counts() == {"COMPLETED": 6}


def test_a_grown_database_is_counted_in_several_transactions(world: World, monkeypatch: pytest.MonkeyPatch):
    for number in range(5):
        run_trip(f"T{number}")
    monkeypatch.setattr(tally, "SAGAS_A_TIME", 2)
    monkeypatch.setattr(tally, "ATTEMPTS_A_TIME", 3)

    assert tally.count_new()

    assert sum(one.count for one in Tally.objects.filter(step="")) == 5
    assert counts("book_flight", "action") == {"DONE": 5}


@pytest.mark.parametrize(("took", "at_most"), [(0.005, 0.005), (0.0051, 0.025), (60, 60), (86_401, float("inf"))])
def test_a_time_counts_for_the_smallest_bound_it_does_not_exceed(world: World, took: float, at_most: float):
    run_trip()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_sagainstance SET created_at = ended_at - %s", [timedelta(seconds=took)])

    tally.count_new()

    one = Tally.objects.get(step="")
    assert (one.at_most, one.count, one.seconds) == (at_most, 1, took)


class other_writer:
    """Another connection in the middle of a transaction that ends a saga; over with the block at the latest."""

    def __init__(self, sql: str = "") -> None:
        self._sql, self._begun, self._finish = sql, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self):
        self._thread.start()
        assert self._begun.wait(30)
        return self._end

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._finish.set()
        self._thread.join(30)

    def _write(self) -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(self._sql or _A_COPY_THAT_ENDS)
                assert cursor.rowcount == 1
                self._begun.set()
                assert self._finish.wait(30)
        finally:
            connections.close_all()


_A_COPY_THAT_ENDS = """
    INSERT INTO sagas_sagainstance (id, definition, definition_version, business_key, data, status, backward,
        pivot_passed, generation, version, suspend_reason, attention, blocked_on, stalls, created_at, updated_at,
        ended_at)
    SELECT gen_random_uuid(), definition, definition_version, 'a copy', data, status, backward,
        pivot_passed, generation, version, suspend_reason, attention, blocked_on, stalls, created_at, updated_at,
        clock_timestamp()
    FROM sagas_sagainstance LIMIT 1
"""
