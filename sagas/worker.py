"""RQ's worker for hints: one process, no fork a job, and no job but the one that drains."""

import logging
import secrets
import signal
import threading
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from types import FrameType
from typing import Any

import redis
from django.conf import settings
from redis.client import Pipeline
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import as_text
from rq.worker import WorkerStatus
from rq.worker_registration import register

from sagas import driver
from sagas.jobs import HINT, QUEUE, drain
from sagas.monitoring.alerts import watch_over_sweepers

logger = logging.getLogger(__name__)

# A packet that vanished is sent again, but ever later: a new connection is sooner there.
CONNECT_WITHIN_S = 2.0


class _Hint(Job):
    """That it waits is all there is to it: what it says is not even read, let alone run.

    Whoever can write to Redis can name any function: a JSON job that named os.system ran. RQ also imports and
    calls what a job names as its callbacks, and posts to its webhooks.
    """

    def refresh(self) -> None:
        """Nothing: RQ would read it."""


class _Hints(Queue):
    """A hint is gone when it is taken: what is due stays due in PostgreSQL, whatever becomes of who took it."""

    @classmethod
    def dequeue_any(
        cls, queues: Iterable[Queue], timeout: int | None, connection: redis.Redis, *_: Any, **__: Any
    ) -> tuple[Job, Queue] | None:
        """RQ would keep it elsewhere until it is followed, and describe the queue and the job anew."""
        if driver.stopping():
            # The signal came after RQ's own look, before the worker was idle; nobody looks again.
            raise StopRequested
        (queue,) = queues
        taken = cls.lpop([queue.key], timeout, connection=connection)
        return None if taken is None else (_Hint.fetch(as_text(taken[1]), connection), queue)


class SagaWorker(SimpleWorker):
    """Follows hints and does nothing else. SIGTERM lets the step under way finish and starts no other."""

    job_class = _Hint
    queue_class = _Hints

    # RQ would wait up to a minute between two looks at a Redis that was away, and hints with it.
    max_connection_wait_time = 1.0
    # RQ would wait for a hint for seven minutes at a time, also for one that vanished on the way to a host
    # that was cut off. So many seconds a wait, and so many until its answer is given up.
    dequeue_timeout = 5
    connection_timeout = 8

    _beats_again_at = 0.0

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Now and then: RQ would ask Redis to note before and after each hint that this worker lives."""
        if timeout is not None or monotonic() >= self._beats_again_at:
            self._beats_again_at = monotonic() + self.dequeue_timeout
            super().heartbeat(timeout, pipeline)
            if self.birth_date:  # a Redis that was emptied has forgotten who works
                (self.connection if pipeline is None else pipeline).hset(self.key, mapping=self.serialize())
                register(self, pipeline)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Follow a hint, without RQ's books about it: their twenty questions to Redis take longer than a saga."""
        # For a signal, which asks here; RQ would tell Redis as well.
        self._state = WorkerStatus.BUSY
        if job.id != HINT:
            # Somebody else's, or of an older version: nobody would take it out of Redis after us.
            self.connection.delete(job.key)
        try:
            drain()
        except Exception:
            logger.exception("a drain ended early; the sweeper finds what it left")

    def subscribe(self) -> None:
        """Not to RQ's commands: nobody who can write to Redis stops a worker."""

    def _install_signal_handlers(self) -> None:
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        # A signal may have come before.
        self._stop_requested = self._stop_requested or driver.stopping()

    def handle_warm_shutdown_request(self) -> None:
        driver.stop()

    def set_shutdown_requested_date(self) -> None:
        """Called by the signal's handler, in the middle of whatever is under way: Redis must not break that."""
        with suppress(redis.RedisError):
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """A second signal changes nothing: calls under way have time limits, so the end is near anyway."""


def run(*, burst: bool = False) -> None:
    """Work until told to stop. While Redis is away, look again every second; the sweeper drives meanwhile."""
    if not burst:
        threading.Thread(target=watch_over_sweepers, name="watch-over-sweepers", daemon=True).start()
    # RQ's handler raises it also where RQ does not work, between one worker and the next.
    with suppress(StopRequested):
        while not driver.stopping():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: driver.stop())
            connection = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=CONNECT_WITHIN_S)
            try:
                worker = SagaWorker(
                    [QUEUE],
                    name=f"saga-{secrets.token_hex(8)}",
                    connection=connection,
                    serializer=JSONSerializer,
                    log_job_description=False,
                )
                worker.work(burst=burst, logging_level="WARNING", with_scheduler=False)
                if burst:
                    return
            except redis.RedisError as error:
                logger.warning("Redis is away, trying again: %s", error)
            # RQ also gives up on its own, after errors it does not know.
            driver.wait_to_stop(1.0)
