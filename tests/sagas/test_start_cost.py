"""What starting a saga costs the web request that does it: statements, and waiting for Redis."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
import redis
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from config.embedded.service import Process
from config.embedded.valkey import valkey_service, valkey_url
from sagas import jobs, sweeper
from sagas.jobs import PATIENCE_S
from sagas.models import SagaInstance
from sagas.services import start
from tests.sagas.conftest import begin_trip
from tests.sagas.plans import Transfer, TransferData, Trip, TripData, World

# What the commit may take on a machine that is busy with other things; the wait itself is PATIENCE_S.
AT_MOST = 0.5


@pytest.fixture(autouse=True)
def new_queue() -> Iterator[None]:
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
    jobs._queue().empty()
    there = redis.Redis.from_url(settings.REDIS_URL)
    before = there.info("stats")["total_reads_processed"]

    begin_trip("T2")

    assert there.info("stats")["total_reads_processed"] - before - 1 == 1


def test_no_answer_of_redis_is_waited_for_longer_than_a_shopper_would_notice(world: World):
    limits = jobs._queue().connection.connection_pool.connection_kwargs

    assert PATIENCE_S <= 0.05
    assert (limits["socket_timeout"], limits["socket_connect_timeout"]) == (PATIENCE_S, PATIENCE_S)


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

    assert max(seconds_to_begin(f"T{number}") for number in (1, 2, 3)) < AT_MOST

    assert sweeper.sweep() is True
    assert set(SagaInstance.objects.values_list("status", flat=True)) == {"COMPLETED"}
