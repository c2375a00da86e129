"""Periodic work: one place at a time, at most once a period, and nothing stops the sweep."""

import threading
from collections.abc import Callable
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

import pytest
from django.db import OperationalError, connection, connections
from django.utils.timezone import now

from sagas import periodic as periodic_work
from sagas import sweeper
from sagas.checks import periodic_jobs_are_fit
from sagas.models import PeriodicJob
from sagas.periodic import Job, periodic, run_due
from sagas.steps import minutes, seconds
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """No jobs but those of the test."""
    jobs: list[Job] = []
    monkeypatch.setattr(periodic_work, "registry", jobs)
    monkeypatch.setattr("sagas.checks.periodic_jobs", jobs)
    return jobs


def named(name: str, function: Callable[[], object]) -> Callable[[], object]:
    function.__module__, function.__qualname__ = "tests", name
    return function


def run_to_end() -> int:
    threads = run_due()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return len(threads)


def let_time_pass(**amount: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_periodicjob SET last_started_at = last_started_at - %s, last_ended_at = last_ended_at - %s",
            [timedelta(**amount)] * 2,
        )


def test_a_job_runs_at_once_and_then_once_a_period() -> None:
    runs: list[int] = []
    periodic(every=seconds(60))(named("count", lambda: runs.append(1) or len(runs)))

    assert [run_to_end(), run_to_end()] == [1, 0]
    let_time_pass(seconds=59)
    assert run_to_end() == 0
    let_time_pass(seconds=1)
    assert run_to_end() == 1

    job = PeriodicJob.objects.get()
    assert (job.name, job.last_result, job.last_error) == ("tests.count", 2, "")
    assert job.last_ended_at is not None
    assert job.last_ended_at >= job.last_started_at


@pytest.mark.parametrize("first_time", [True, False])
def test_of_sweepers_that_come_at_the_same_moment_one_runs_the_job(first_time: bool) -> None:
    runs: list[str] = []
    periodic(every=seconds(60))(named("count", lambda: runs.append(threading.current_thread().name)))
    if not first_time:
        run_to_end()
        runs.clear()
        let_time_pass(minutes=5)

    started = race([run_to_end] * 6)

    assert sorted(started) == [0, 0, 0, 0, 0, 1]
    assert runs == ["tests.count"]


@pytest.mark.parametrize("first_to_end", ["the run that was given up", "its successor"])
def test_a_job_that_runs_is_not_started_again_until_its_limit_is_over(first_to_end: str) -> None:
    entered, leave = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]
    runs: list[int] = []

    def slow() -> int:
        mine = len(runs)
        runs.append(mine)
        entered[mine].set()
        leave[mine].wait(30)
        return mine

    periodic(every=seconds(1), limit=minutes(1))(named("slow", slow))
    threads = run_due()
    assert entered[0].wait(30)
    let_time_pass(seconds=50)
    assert run_due() == []

    let_time_pass(seconds=10)
    threads += run_due()
    assert entered[1].wait(30)
    for run in (0, 1) if first_to_end == "the run that was given up" else (1, 0):
        leave[run].set()
        threads[run].join(30)

    assert runs == [0, 1]
    job = PeriodicJob.objects.get()
    assert (job.last_result, job.last_error) == (1, "")  # the run that was given up wrote nothing


def test_a_run_that_died_is_told_of_while_the_next_one_runs() -> None:
    PeriodicJob.objects.create(name="tests.dead", last_started_at=now() - timedelta(minutes=3), last_result=7)
    told: list[str] = []
    periodic(every=seconds(1))(named("dead", lambda: told.append(PeriodicJob.objects.get().last_error)))

    run_to_end()

    assert told == ["the run before did not come back"]
    assert PeriodicJob.objects.get().last_error == ""


def test_a_job_that_raises_is_recorded_and_the_next_one_runs(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ValueError("the books of ada@example.org do not balance")

    periodic(every=seconds(60))(named("broken", broken))
    periodic(every=seconds(60))(named("not_json", lambda: object()))
    periodic(every=seconds(60))(named("sound", lambda: "fine"))

    assert run_to_end() == 3

    rows = {job.name: (job.last_result, job.last_error) for job in PeriodicJob.objects.all()}
    assert rows == {
        "tests.broken": (None, "ValueError: the books of [e-mail] do not balance"),
        "tests.not_json": (None, "TypeError: Object of type object is not JSON serializable"),
        "tests.sound": ("fine", ""),
    }
    assert PeriodicJob.objects.filter(last_ended_at=None).count() == 0
    assert "the periodic job tests.broken failed" in caplog.text


def test_the_result_of_the_last_good_run_stays_when_a_later_one_fails() -> None:
    answers: list[Any] = [{"found": 1}, ZeroDivisionError("no")]

    def moody() -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    periodic(every=seconds(1))(named("moody", moody))
    run_to_end()
    let_time_pass(seconds=1)
    run_to_end()

    job = PeriodicJob.objects.get()
    assert (job.last_result, job.last_error) == ({"found": 1}, "ZeroDivisionError: no")


def test_a_job_has_a_connection_of_its_own_that_is_closed_afterwards() -> None:
    used: list[Any] = []

    def look() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            used.append(cursor.fetchone()[0])

    periodic(every=seconds(60))(named("look", look))
    run_to_end()

    def is_gone() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid(), count(*) FROM pg_stat_activity WHERE pid = %s", used)
            mine, still_there = cursor.fetchone()
        assert mine != used[0]
        return still_there == 0

    # A backend ends a moment after its client has closed the connection.
    until = monotonic() + 60
    while not is_gone():
        assert monotonic() < until, "the job's connection was left open"
        sleep(0.02)


def run_sweeper(monkeypatch: pytest.MonkeyPatch, sweep: Callable[[], bool], stopping: threading.Event) -> None:
    """The sweeper's own loop, here, with another sweep in it."""
    monkeypatch.setattr(sweeper, "sweep", sweep)
    monkeypatch.setattr(sweeper, "PERIOD", 0.01)
    monkeypatch.setattr(sweeper, "Event", lambda: stopping)
    monkeypatch.setattr(sweeper.signal, "signal", lambda *_: None)
    sweeper.run()


def test_a_long_job_does_not_delay_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    leave, sweeps = threading.Event(), []
    periodic(every=seconds(60))(named("long", lambda: leave.wait(30)))
    stopping = threading.Event()

    def sweep() -> bool:
        sweeps.append(PeriodicJob.objects.filter(last_ended_at=None).count())
        if len(sweeps) == 3:
            leave.set()
            stopping.set()
        return False

    run_sweeper(monkeypatch, sweep, stopping)

    assert sweeps == [0, 1, 1]
    assert PeriodicJob.objects.get().last_result is True  # the end waited for it


def test_a_sweep_that_fails_is_followed_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stopping, sweeps = threading.Event(), []

    def sweep() -> bool:
        sweeps.append("swept")
        if len(sweeps) == 1:
            raise RuntimeError("a bug")
        stopping.set()
        return False

    run_sweeper(monkeypatch, sweep, stopping)

    assert sweeps == ["swept", "swept"]
    assert "RuntimeError: a bug" in caplog.text


def test_a_job_whose_connection_breaks_is_recorded_over_a_new_one() -> None:
    def cut_off() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    periodic(every=seconds(60))(named("cut_off", cut_off))

    run_to_end()

    job = PeriodicJob.objects.get()
    assert job.last_error.startswith(OperationalError.__name__)
    assert job.last_ended_at is not None


def test_looking_for_due_jobs_takes_one_query_and_writes_nothing(django_assert_num_queries: Any) -> None:
    periodic(every=seconds(60))(named("one", lambda: None))
    periodic(every=seconds(60))(named("two", lambda: None))
    run_to_end()
    connections["default"].ensure_connection()

    with django_assert_num_queries(1):
        assert run_due() == []


def test_the_checks_refuse_a_name_twice_and_a_period_of_nothing(registry: list[Job]) -> None:
    periodic(every=seconds(60))(named("same", lambda: 1))
    assert periodic_jobs_are_fit(None) == []
    periodic(every=seconds(60))(named("same", lambda: 2))
    periodic(every=seconds(0))(named("never", lambda: 1))
    periodic(every=seconds(1), limit=seconds(0))(named("dead", lambda: 1))

    assert [(message.id, message.msg) for message in periodic_jobs_are_fit(None)] == [
        ("sagas.E007", "Two periodic jobs are called tests.same; only one would run."),
        ("sagas.E008", "The periodic job tests.never needs a positive period and limit."),
        ("sagas.E008", "The periodic job tests.dead needs a positive period and limit."),
    ]


def test_a_function_registered_again_is_one_job(registry: list[Job]) -> None:
    function = named("one", lambda: 1)

    periodic(every=seconds(60))(function)
    periodic(every=seconds(60))(function)

    assert [job.name for job in registry] == ["tests.one"]
