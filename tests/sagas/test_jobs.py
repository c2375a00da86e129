"""Hints through Redis: they hurry, and nothing depends on them."""

from time import monotonic

import pytest
import redis

from sagas import jobs, sweeper
from sagas.driver import TOGETHER, drain_due
from sagas.jobs import drain, hint
from sagas.models import SagaInstance
from tests.sagas.conftest import begin_trip
from tests.sagas.plans import World
from tests.sagas.rows import make_due


@pytest.fixture(autouse=True)
def empty_redis(settings):
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    jobs._queue.cache_clear()
    yield
    jobs._queue.cache_clear()


def waiting() -> int:
    return jobs._queue().count


def test_a_start_hints_when_its_transaction_commits(world: World):
    begin_trip()

    assert waiting() == 1


def test_a_hint_carries_no_data(world: World):
    begin_trip()

    (job,) = jobs._queue().jobs
    assert (job.func_name, job.args, job.kwargs) == ("sagas.jobs.drain", [], {})


def test_hints_that_still_wait_are_not_repeated(world: World):
    for number in range(5):
        begin_trip(f"T{number}")

    assert waiting() == 1


def test_a_drain_that_leaves_something_hints_again(world: World, monkeypatch):
    monkeypatch.setattr("sagas.driver.drain_due", lambda: True)

    drain()

    assert waiting() == 1


def test_a_drain_that_leaves_nothing_is_quiet(world: World):
    drain()

    assert waiting() == 0


def test_many_sagas_in_one_drain_call_another_worker(world: World):
    for number in range(TOGETHER):
        begin_trip(f"T{number}")
    jobs._queue().empty()

    drain_due()

    assert waiting() == 1


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:9/0", "redis://192.0.2.1:6379/0"], ids=["refused", "nobody answers"]
)
def test_a_hint_that_cannot_be_sent_costs_a_moment_and_no_error(world: World, settings, monkeypatch, url):
    monkeypatch.setattr(jobs, "PATIENCE_S", 0.5)
    settings.REDIS_URL = url
    jobs._queue.cache_clear()
    started = monotonic()

    assert hint() is False

    assert monotonic() - started < 10


def test_the_sweeper_hints_at_what_is_due(world: World):
    begin_trip()
    jobs._queue().empty()

    assert sweeper.sweep() is True

    assert waiting() == 1


def test_the_sweeper_is_quiet_when_nothing_is_due(world: World):
    saga = begin_trip()
    make_due(saga, since="-1 hour")
    jobs._queue().empty()

    assert sweeper.sweep() is False

    assert waiting() == 0


def test_the_sweeper_drives_itself_when_no_hint_can_be_sent(world: World, settings):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    jobs._queue.cache_clear()
    begin_trip()

    assert sweeper.sweep() is True

    assert SagaInstance.objects.get().status == "COMPLETED"
