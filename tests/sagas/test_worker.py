"""The worker takes hints and nothing else."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
import redis
from django.db import connection
from rq import Queue, SimpleWorker, Worker
from rq.job import Callback, Job
from rq.serializers import DefaultSerializer, JSONSerializer
from rq.worker import WorkerStatus

from sagas import driver, jobs, worker
from sagas.jobs import HINT, QUEUE
from sagas.models import SagaInstance
from sagas.worker import SagaWorker
from tests.sagas.conftest import begin_trip
from tests.sagas.plans import World


@pytest.fixture(autouse=True)
def undisturbed(settings, monkeypatch):
    """An empty Redis, and this process's own signal handlers and will to work afterwards; and no thread left behind."""
    monkeypatch.setattr(worker, "watch_over_sweepers", lambda: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    jobs._queue.cache_clear()
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    driver._stopping.clear()
    jobs._queue.cache_clear()


def queue(settings, serializer=JSONSerializer) -> Queue:
    return Queue(QUEUE, connection=redis.Redis.from_url(settings.REDIS_URL), serializer=serializer)


def test_a_worker_drives_what_it_is_hinted_at(world: World):
    begin_trip()

    worker.run(burst=True)

    assert SagaInstance.objects.get().status == "COMPLETED"


def test_a_doubled_and_a_useless_hint_are_harmless(world: World, settings):
    begin_trip()
    for _ in range(3):
        queue(settings).enqueue("sagas.jobs.drain", job_timeout=-1)

    worker.run(burst=True)

    assert SagaInstance.objects.get().status == "COMPLETED"
    assert queue(settings).count == 0


def test_a_worker_tells_that_it_lives_now_and_then_and_not_at_each_hint(world: World, settings, monkeypatch):
    beats: list[str] = []
    monkeypatch.setattr(SimpleWorker, "heartbeat", lambda self, *_: beats.append(self.name))
    for _ in range(5):
        queue(settings).enqueue("sagas.jobs.drain", job_timeout=-1)

    worker.run(burst=True)
    assert len(beats) == 1

    asked = SagaWorker([QUEUE], connection=queue(settings).connection)
    for _ in range(3):
        asked.heartbeat(timeout=90)
    assert len(beats) == 4, "who names a time is told at once"
    beats.clear()

    monkeypatch.setattr(SagaWorker, "dequeue_timeout", 0)
    for _ in range(5):
        queue(settings).enqueue("sagas.jobs.drain", job_timeout=-1)
    worker.run(burst=True)
    assert len(beats) > 5


def test_a_redis_that_was_emptied_hears_again_who_works(settings):
    asked = SagaWorker([QUEUE], connection=queue(settings).connection)
    asked.register_birth()
    asked.connection.flushdb()

    asked.heartbeat()

    (told,) = Worker.all(asked.connection)
    assert (told.name, told.pid, told.queue_names()) == (asked.name, asked.pid, [QUEUE])
    assert asked.connection.ttl(asked.key) > 0
    asked.register_death()
    assert Worker.all(asked.connection) == []


def begin_elsewhere() -> None:
    begin_trip()
    connection.close()


def touch(path: Path) -> None:
    """What somebody who can write to Redis would like us to call."""
    path.write_text("called")


def touch_what_it_names(job: Job, *_: object) -> None:
    """The same as a callback."""
    touch(Path(job.description))


def taken_for_a_hint(settings) -> None:
    """What waits in the queue has the worker look what is due, and that is all."""
    (taken,) = queue(settings).job_ids
    begin_trip()
    assert queue(settings).job_ids == [taken], "it is the only hint"

    worker.run(burst=True)

    assert SagaInstance.objects.get().status == "COMPLETED"
    assert queue(settings).count == 0
    assert not Job.exists(taken, connection=redis.Redis.from_url(settings.REDIS_URL))


def test_a_job_that_names_another_function_is_a_hint_and_the_function_is_not_called(world: World, settings, tmp_path):
    mark = tmp_path / "mark"
    queue(settings).enqueue("os.system", f"touch {mark}")

    taken_for_a_hint(settings)

    assert not mark.exists()


@pytest.mark.parametrize(
    ("hook", "function"), [("on_success", "sagas.jobs.drain"), ("on_failure", "sagas.jobs.not_there")]
)
def test_a_callback_of_a_hint_is_not_called(world: World, settings, tmp_path, hook, function):
    callback = Callback(touch_what_it_names)
    queue(settings).enqueue(function, description=str(tmp_path / "mark"), **{hook: callback})

    taken_for_a_hint(settings)

    assert not (tmp_path / "mark").exists()


def test_a_pickled_job_is_not_even_read(world: World, settings, tmp_path):
    mark = tmp_path / "mark"
    queue(settings, DefaultSerializer).enqueue(touch, mark)

    taken_for_a_hint(settings)

    assert not mark.exists()


def test_a_hint_of_which_nothing_is_left_but_its_name_is_followed(world: World, settings):
    queue(settings).push_job_id("gone")

    taken_for_a_hint(settings)


def test_following_hints_leaves_nothing_behind_but_the_one_job_that_all_are(world: World, settings):
    there = redis.Redis.from_url(settings.REDIS_URL)
    for number in range(3):
        begin_trip(f"T{number}")
        worker.run(burst=True)

    left = {key.decode() for key in there.keys("rq:*") if not key.startswith(b"rq:worker")}
    assert left == {"rq:queues", f"rq:job:{HINT}"}


def test_a_worker_that_follows_a_hint_is_busy(world: World, settings, monkeypatch):
    """RQ leaves at once when it is told to stop and is not."""
    states = []
    monkeypatch.setattr(worker, "drain", lambda: states.append(here.get_state()))
    here = SagaWorker([QUEUE], connection=queue(settings).connection, serializer=JSONSerializer)
    begin_trip()

    here.work(burst=True)

    assert states == [WorkerStatus.BUSY]


def test_a_worker_takes_no_commands_from_redis(world: World, settings, monkeypatch):
    """RQ would listen there for one that stops it."""
    channels = []
    there = redis.Redis.from_url(settings.REDIS_URL)
    monkeypatch.setattr(worker, "drain", lambda: channels.append(there.pubsub_channels()))
    begin_trip()

    worker.run(burst=True)

    assert channels == [[]]


def test_a_worker_waits_a_few_seconds_at_a_time_for_a_hint_that_may_have_vanished(world: World, settings):
    there = redis.Redis.from_url(settings.REDIS_URL)
    waiting = SagaWorker([QUEUE], name="saga-test", connection=there, serializer=JSONSerializer)

    assert waiting.dequeue_timeout == 5
    assert there.connection_pool.connection_kwargs["socket_timeout"] == 8


def test_being_told_to_stop_while_redis_is_away_breaks_nothing_that_is_under_way(world: World, settings):
    there = redis.Redis.from_url(settings.REDIS_URL)
    busy = SagaWorker([QUEUE], name="saga-test", connection=there, serializer=JSONSerializer)
    busy._state = WorkerStatus.BUSY
    busy.connection = redis.Redis.from_url("redis://127.0.0.1:9/0", retry=None)

    busy.request_stop(signal.SIGTERM, None)

    assert driver.stopping()
    assert busy._stop_requested


def test_a_second_signal_changes_nothing(world: World, settings):
    there = redis.Redis.from_url(settings.REDIS_URL)
    busy = SagaWorker([QUEUE], name="saga-test", connection=there, serializer=JSONSerializer)
    busy._state = WorkerStatus.BUSY
    busy.request_stop(signal.SIGTERM, None)

    signal.getsignal(signal.SIGTERM)(signal.SIGTERM, None)

    assert busy._stop_requested


def test_a_worker_that_rq_gives_up_on_is_made_anew(world: World, monkeypatch):
    ends = []

    def give_up(self, **_):
        ends.append(self.name)
        if len(ends) == 2:
            driver.stop()

    monkeypatch.setattr(SagaWorker, "work", give_up)
    monkeypatch.setattr(driver, "wait_to_stop", lambda seconds: None)

    worker.run()

    assert len(set(ends)) == 2


def test_a_worker_watches_over_the_sweepers_beside_its_work(world: World, monkeypatch):
    watches = Event()
    monkeypatch.setattr(worker, "watch_over_sweepers", watches.set)

    def work_until_it_watches(self, **_):
        assert watches.wait(30)
        driver.stop()

    monkeypatch.setattr(SagaWorker, "work", work_until_it_watches)

    worker.run()


def test_a_signal_before_the_work_begins_is_not_forgotten(world: World, monkeypatch):
    bootstrap = SagaWorker.bootstrap

    def told_to_stop(self, *arguments):
        bootstrap(self, *arguments)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(SagaWorker, "bootstrap", told_to_stop)
    begin_trip()

    worker.run()  # comes back

    assert SagaInstance.objects.get().status == "PENDING"


def test_a_signal_between_the_work_and_the_wait_for_more_is_not_forgotten(world: World, monkeypatch):
    queue_names, lpop, told_before_it_waits = SagaWorker.queue_names, worker._Hints.lpop, []

    def told_to_stop(self):
        if self.get_state() == WorkerStatus.BUSY:
            signal.raise_signal(signal.SIGTERM)
        return queue_names(self)

    def look(keys, timeout, connection):
        told_before_it_waits.append(driver.stopping())
        return lpop(keys, None, connection=connection)

    monkeypatch.setattr(SagaWorker, "queue_names", told_to_stop)
    monkeypatch.setattr(worker._Hints, "lpop", look)
    begin_trip()

    worker.run()

    assert driver.stopping()
    assert told_before_it_waits == [False]
    assert SagaInstance.objects.get().status == "COMPLETED"


def test_a_signal_after_rq_has_given_up_ends_it_as_any_other(world: World, monkeypatch):
    told = []

    def gone(self, *_):
        raise redis.ConnectionError("gone")

    def told_to_stop(seconds):
        told.append(seconds)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(SagaWorker, "dequeue_job_and_maintain_ttl", gone)
    monkeypatch.setattr(driver, "wait_to_stop", told_to_stop)

    worker.run()  # comes back

    assert told == [1.0]


def test_a_drain_whose_connection_broke_since_the_last_one_gets_another(world: World):
    """That is asked for once a second, and here it is too soon."""
    driver.drain_due()
    connection.connection.pgconn.finish()
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(begin_elsewhere).result()

    driver.drain_due()

    assert SagaInstance.objects.get().status == "COMPLETED"


def test_a_driver_that_was_told_to_stop_starts_nothing_and_says_that_something_is_left(world: World):
    begin_trip()
    driver.stop()

    assert driver.drain_due() is True

    assert SagaInstance.objects.get().status == "PENDING"
