"""Real workers and a real sweeper: killed, frozen, told to stop, and with Redis emptied or away."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from django.conf import settings
from django.db import connection, transaction
from rq import Queue
from rq.serializers import JSONSerializer

from sagas.definition import registry
from sagas.jobs import HINT, QUEUE, hint
from sagas.models import SagaInstance
from sagas.services import start
from tests.sagas.errands.plan import Errand, ErrandData
from tests.sagas.plans import World, effects
from tests.sagas.rows import end_lease, outcomes, snapshot, statuses

ROOT = Path(__file__).parents[2]
NO_REDIS = "redis://127.0.0.1:9/0"


@pytest.fixture
def outside(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The outside world of the errands, and an empty Redis."""
    monkeypatch.setitem(registry, ("test.errand", 1), Errand.plan)
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    folder = tmp_path / "world"
    folder.mkdir()
    return folder


class Process:
    """One process of ours, with what it said."""

    def __init__(self, command: str, outside: Path, redis_url: str) -> None:
        scheme, host, _, query, fragment = urlsplit(os.environ["DATABASE_URL"])
        url = urlunsplit((scheme, host, connection.settings_dict["NAME"], query, fragment))
        environment = os.environ | {
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
            "DJANGO_SETTINGS_MODULE": "tests.sagas.errands.settings",
            "DEBUG": "true",
            "ERRANDS": str(outside),
            "PYTHONWARNINGS": "ignore",
        }
        self._log = outside / f"{command} {id(self)}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", command], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        self.pid = self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def said(self) -> str:
        return self._log.read_text()

    def end(self) -> int:
        return self._process.wait(timeout=30)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        if self.is_running():
            self._process.kill()
            self._process.send_signal(signal.SIGCONT)
        self._process.wait()


@contextmanager
def running(command: str, outside: Path, redis_url: str = "") -> Iterator[Process]:
    process = Process(command, outside, redis_url or settings.REDIS_URL)
    try:
        yield process
    finally:
        process.close()


def eventually(condition: Callable[[], object], what: str, process: Process) -> None:
    """Wait for something that this process has to bring about."""
    until = monotonic() + 60
    while not condition():
        if monotonic() > until or not process.is_running():
            pytest.fail(f"never: {what}\n{process.said()}")
        sleep(0.01)


def begin_errand(name: str = "E1") -> SagaInstance:
    with transaction.atomic():
        return start(Errand, ErrandData(name), key=name)


def status(saga: SagaInstance) -> str:
    return SagaInstance.objects.values_list("status", flat=True).get(pk=saga.pk)


def completes(saga: SagaInstance, process: Process) -> None:
    """Wait for its end, and hint meanwhile: a sweeper would drive it here, in this process, were a hint lost."""
    eventually(lambda: status(saga) == "COMPLETED" or (hint() and None), "the saga completes", process)


def calls(outside: Path, kind: str, name: str = "E1") -> list[int]:
    """The processes that made these calls, in order."""
    lines = [line.split() for line in (outside / "calls").read_text().splitlines()]
    return [int(pid) for said, key, pid in lines if (said, key) == (kind, name)]


def bought(outside: Path) -> list[str]:
    return [path.name for path in outside.glob("bought *")]


def stalled(outside: Path, process: Process) -> None:
    """Wait until a call of this process is under way and stalls, and hint meanwhile."""
    marker = outside / "stalled E1"

    def stalls() -> bool:
        return marker.exists() and marker.read_text() == str(process.pid)

    eventually(lambda: stalls() or (hint() and None), "a call is under way", process)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_killed_in_the_middle_of_a_call_is_replaced_and_the_effect_is_there_once(outside: Path, moment: str):
    (outside / f"stall {moment}").touch()
    with running("saga_worker", outside) as first:
        saga = begin_errand()
        stalled(outside, first)
        first.send(signal.SIGKILL)
        assert first.end() == -signal.SIGKILL
    assert bought(outside) == ([f"bought {saga.pk}:buy:action"] if moment == "after" else [])

    (outside / f"stall {moment}").unlink()
    with running("saga_worker", outside) as second:
        end_lease(saga)
        completes(saga, second)

        assert calls(outside, "find") == [second.pid], "asked first"
        assert calls(outside, "buy") == ([first.pid] if moment == "after" else [first.pid, second.pid])
    assert bought(outside) == [f"bought {saga.pk}:buy:action"]
    assert outcomes(saga, "buy") == ["LEASE_OVER", "DONE"]
    assert effects("E1") == ["done", "started"]


def test_a_frozen_worker_that_wakes_up_too_late_writes_nothing(outside: Path):
    (outside / "stall before").touch()
    with running("saga_worker", outside) as zombie:
        saga = begin_errand()
        stalled(outside, zombie)
        zombie.send(signal.SIGSTOP)
        (outside / "stall before").unlink()
        end_lease(saga)
        with running("saga_worker", outside) as other:
            completes(saga, other)
        before = snapshot(saga)

        zombie.send(signal.SIGCONT)
        eventually(lambda: "a late outcome of buy missed" in zombie.said(), "the late record misses", zombie)

        assert zombie.is_running(), "it goes on with other work"
    assert snapshot(saga) == before
    assert bought(outside) == [f"bought {saga.pk}:buy:action"]
    assert effects("E1") == ["done", "started"]


def test_a_worker_told_to_stop_finishes_the_call_under_way_and_starts_nothing_more(outside: Path):
    (outside / "stall before").touch()
    with running("saga_worker", outside) as worker:
        saga = begin_errand()
        stalled(outside, worker)

        worker.send(signal.SIGTERM)
        sleep(0.2)
        assert worker.is_running(), "it waits for the answer"
        (outside / "stall before").unlink()

        assert worker.end() == 0
    assert outcomes(saga, "buy") == ["DONE"]
    assert statuses(saga)["buy"] == ("SUCCEEDED", "NOT_NEEDED")
    assert (status(saga), effects("E1")) == ("RUNNING", ["started"])


def test_a_worker_told_to_stop_does_not_wait_for_a_call_that_outlasts_its_lease(outside: Path, monkeypatch):
    monkeypatch.setenv("ERRANDS_LEASE_S", "0.5")
    (outside / "stall before").touch()
    with running("saga_worker", outside) as worker:
        begin_errand()
        stalled(outside, worker)

        worker.send(signal.SIGTERM)

        assert worker.end() == 0
        assert "has not come back within its lease" in worker.said()
    assert bought(outside) == [], "it ended in the middle of the call"


def test_losing_every_job_delays_and_nothing_more(outside: Path):
    there = redis.Redis.from_url(settings.REDIS_URL)
    sagas = [begin_errand(f"E{number}") for number in range(3)]
    there.flushall()

    with running("saga_worker", outside) as worker, running("saga_sweeper", outside):
        for saga in sagas:
            eventually(lambda saga=saga: status(saga) == "COMPLETED", "the saga completes", worker)

        worker.send(signal.SIGTERM)
        assert worker.end() == 0
    assert len(bought(outside)) == 3


def test_a_job_that_names_another_function_is_taken_for_a_hint(outside: Path):
    mark = outside / "mark"
    queue = Queue(QUEUE, connection=redis.Redis.from_url(settings.REDIS_URL), serializer=JSONSerializer)
    saga = begin_errand()
    queue.connection.flushall()
    queue.enqueue("os.system", f"touch '{mark}'")

    with running("saga_worker", outside) as worker:
        eventually(lambda: status(saga) == "COMPLETED", "the saga completes", worker)

        worker.send(signal.SIGTERM)
        assert worker.end() == 0
    # Told to stop in the middle of a drain, it hints at what it may have left.
    assert set(queue.job_ids) <= {HINT}
    assert not mark.exists()


def test_with_redis_away_the_sweeper_drives_and_the_worker_waits(outside: Path):
    saga = begin_errand()

    with running("saga_worker", outside, NO_REDIS) as worker, running("saga_sweeper", outside, NO_REDIS) as sweeper:
        eventually(lambda: status(saga) == "COMPLETED", "the saga completes", sweeper)
        eventually(lambda: "Redis is away" in worker.said(), "the worker says what it waits for", worker)

        assert calls(outside, "buy") == [sweeper.pid]
        assert worker.is_running()
        for process in (worker, sweeper):
            process.send(signal.SIGTERM)
            assert process.end() == 0
