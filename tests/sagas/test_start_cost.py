"""What starting a saga costs the web request that does it: statements, and waiting for Redis."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection, transaction
from django.forms import model_to_dict
from django.test.utils import CaptureQueriesContext
from redis._parsers.socket import SocketBuffer

from config.embedded.service import Process
from config.embedded.valkey import valkey_service, valkey_url
from sagas import jobs, sweeper
from sagas.jobs import PATIENCE_S, hint
from sagas.models import SagaInstance
from sagas.services import start
from tests.racing import race
from tests.sagas.conftest import begin_trip
from tests.sagas.plans import Transfer, TransferData, Trip, TripData, World

# How long Redis is waited for here: longer than the shop does, as a machine may be busy with other things.
WAIT_S = 1.0
# One wait and what comes with it takes less, and the ten seconds that others wait for Redis are more.
AT_MOST = 5.0


@pytest.fixture(autouse=True)
def new_queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(jobs, "PATIENCE_S", WAIT_S)
    jobs._queue.cache_clear()
    yield
    jobs._queue.cache_clear()


@pytest.fixture
def own_redis(tmp_path: Path, settings) -> Iterator[Process]:
    """A server that only this test freezes and kills."""
    with (tmp_path / "valkey.out").open("wb") as log:
        process = Process(valkey_service(tmp_path), log)
    process.wait_until_ready(20)
    settings.REDIS_URL = valkey_url(tmp_path)
    yield process
    if not process.has_ended():
        os.kill(process.popen.pid, signal.SIGCONT)
    process.stop()


def statements(begin: Callable[[], object]) -> int:
    """How many statements ``begin`` adds to the transaction of an order."""
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        begin()
    return len(queries)


@contextmanager
def waits_counted() -> Iterator[Callable[[], int]]:
    """How often Redis was waited for in vain, each time as long as the connection waits."""
    waits: list[float] = []
    read = SocketBuffer._read_from_socket

    def counted(*args: Any, **options: Any) -> Any:
        try:
            return read(*args, **options)
        except redis.TimeoutError:
            waits.append(monotonic())
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SocketBuffer, "_read_from_socket", counted)
        yield lambda: len(waits)


def seconds_to_begin(number: str) -> float:
    began = monotonic()
    begin_trip(number)
    return monotonic() - began


def test_a_start_is_two_statements_more(world: World):
    """The saga with its first event, and its lock."""
    assert statements(lambda: start(Trip, TripData("T1"), key="T1")) == 2


def test_a_start_that_takes_locks_is_three_statements_more_at_most(world: World):
    assert statements(lambda: start(Transfer, TransferData("T1", "A", "B"), key="T1")) <= 3


def test_a_hint_asks_redis_once(world: World, own_redis: Process, settings):
    begin_trip("T1")
    jobs._queue().lines[0].hear()
    jobs._queue().empty()
    there = redis.Redis.from_url(settings.REDIS_URL)
    before = there.info("stats")["total_reads_processed"]

    begin_trip("T2")
    jobs._queue().lines[0].hear()

    assert there.info("stats")["total_reads_processed"] - before - 1 == 1


def test_no_answer_of_redis_is_waited_for_longer_than_a_shopper_would_notice(world: World):
    limits = jobs._queue().connection.connection_pool.connection_kwargs

    assert PATIENCE_S <= 0.05
    assert (limits["socket_timeout"], limits["socket_connect_timeout"]) == (WAIT_S, WAIT_S)


def freeze(server: Process) -> None:
    os.kill(server.popen.pid, signal.SIGSTOP)


@pytest.mark.parametrize("happens", [freeze, Process.kill], ids=["frozen", "gone"])
@pytest.mark.parametrize("connected", [True, False])
def test_with_redis_frozen_or_gone_a_start_commits_at_once_and_the_saga_runs_by_the_sweeper(
    world: World, own_redis: Process, happens: Callable[[Process], None], connected: bool
):
    if connected:
        begin_trip("T0")
    happens(own_redis)

    for number in (1, 2, 3):
        with waits_counted() as waits:
            assert seconds_to_begin(f"T{number}") < AT_MOST
        assert waits() <= 1, "of WAIT_S"

    assert sweeper.sweep() is True
    # A sweep drives for half a second, which may not do for all of them on a machine that is busy with other things.
    until = monotonic() + 60
    while sweeper.sweep() and monotonic() < until:
        pass
    assert set(SagaInstance.objects.values_list("status", flat=True)) == {"COMPLETED"}


# --- nobody waits for the answer to a hint ----------------------------------------------------------


def waiting() -> int:
    """By a connection that waits for Redis as long as it takes, unlike those that hint."""
    return redis.Redis.from_url(settings.REDIS_URL).llen(jobs._queue().key)


def arrived() -> int:
    """How many hints wait once Redis has read what was sent to it, which nobody waited for."""
    until = monotonic() + 60
    while waiting() == 0 and monotonic() < until:
        sleep(0.01)
    return waiting()


def thaw(server: Process) -> None:
    os.kill(server.popen.pid, signal.SIGCONT)


def test_a_hint_does_not_wait_for_redis_and_is_there_when_it_looks(world: World, own_redis: Process, monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE_S", 5.0)
    assert hint(wait=True) is True
    jobs._queue().empty()
    freeze(own_redis)

    began = monotonic()
    assert hint() is True
    assert monotonic() - began < jobs.PATIENCE_S

    thaw(own_redis)
    assert arrived() == 1


def test_who_has_to_know_waits_for_the_answer_as_long_as_a_shopper_would(world: World, own_redis: Process):
    assert hint(wait=True) is True
    freeze(own_redis)

    began = monotonic()
    with waits_counted() as waits:
        assert hint(wait=True) is False
    assert WAIT_S <= monotonic() - began < AT_MOST
    assert waits() == 1


def test_while_redis_answers_no_hint_the_next_ones_are_given_up_and_the_first_serves_for_all(
    world: World, own_redis: Process, caplog
):
    assert hint(wait=True) is True
    jobs._queue().empty()
    freeze(own_redis)

    assert [hint(), hint()] == [True, False]

    assert "no hint could be sent" in caplog.text
    thaw(own_redis)
    assert arrived() == 1


def test_after_redis_came_back_the_first_hint_arrives(world: World, own_redis: Process, tmp_path: Path):
    assert hint(wait=True) is True
    own_redis.kill()
    with (tmp_path / "again.out").open("wb") as log:
        again = Process(valkey_service(tmp_path), log)
    again.wait_until_ready(20)
    try:
        jobs._queue().empty()

        assert hint(wait=True) is True

        assert waiting() == 1
    finally:
        again.stop()


def test_what_redis_says_against_a_hint_is_logged_with_the_next_one(world: World, own_redis: Process, settings, caplog):
    assert hint(wait=True) is True
    jobs._queue().empty()
    redis.Redis.from_url(settings.REDIS_URL).config_set("maxmemory", 1)

    assert hint() is True
    assert caplog.text == ""
    hint()
    assert "a hint may be lost" in caplog.text
    assert hint(wait=True) is False

    assert waiting() == 0


def test_threads_hint_side_by_side(world: World, own_redis: Process):
    assert race([lambda: [hint(wait=number % 2 == 0) for number in range(50)]] * 8) == [[True] * 50] * 8

    assert waiting() == 1
    assert len(jobs._queue().lines) <= 8, "each has one at most, and gives it back"


def test_a_child_of_this_process_hints_on_a_line_of_its_own(world: World, own_redis: Process, settings):
    there = redis.Redis.from_url(settings.REDIS_URL)
    assert hint(wait=True) is True
    before = there.info("stats")["total_connections_received"]

    if (child := os.fork()) == 0:
        try:
            os._exit(0 if hint(wait=True) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0

    assert there.info("stats")["total_connections_received"] > before
    assert hint(wait=True) is True


def test_the_hint_of_a_process_that_ends_at_once_arrives(own_redis: Process, settings):
    jobs._queue().empty()
    hints = f"from sagas import jobs; jobs.PATIENCE_S = {10 * WAIT_S}; jobs.hint()"

    subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity=0", "-c", hints],
        env={**os.environ, "REDIS_URL": settings.REDIS_URL, "DEBUG": "true"},
        check=True,
    )

    assert arrived() == 1


# --- nor is what was written read again -------------------------------------------------------------


def test_the_saga_that_a_start_returns_is_the_row_that_it_wrote(world: World):
    begun = begin_trip()

    stored = SagaInstance.objects.get()

    assert model_to_dict(begun) == model_to_dict(stored)
    assert (begun.pk, begun.created_at, begun.updated_at) == (stored.pk, stored.created_at, stored.updated_at)
    assert not begun._state.adding
