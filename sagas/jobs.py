"""The RQ side: a hint that something is due, and the job that drains what is.

A hint may be lost, doubled or late; ``wake_at`` is the truth and the sweeper finds it.
"""

import logging
import os
from collections import deque
from functools import cache
from typing import Any

import redis
from django.conf import settings
from rq import Queue
from rq.serializers import JSONSerializer

from sagas.failpoints import point

logger = logging.getLogger(__name__)

QUEUE = "sagas"
HINT = "saga-hint"

# One question, and nothing between the look and the push.
_HINT_UNLESS_ONE_WAITS = """
    if redis.call('LLEN', KEYS[1]) == 0 then
        redis.call('RPUSH', KEYS[1], ARGV[1])
    end
"""

# The web request that starts a saga hints on its way out; a slow Redis must not make it wait.
PATIENCE_S = 0.05


class HintQueue(Queue):
    """Where the one job waits that all hints are, or does not; and the lines on which nobody hints at the moment."""

    def __init__(self, connection: redis.Redis) -> None:
        super().__init__(QUEUE, connection=connection, serializer=JSONSerializer)
        self.lines: deque[_Line] = deque()

    def line(self) -> "_Line":
        try:
            return self.lines.pop()
        except IndexError:
            return _Line(self)


class _Line:
    """A connection on which the answer to a hint is read before the next one: who hints does not wait for it.

    To ask and to wait took as long as a statement.
    """

    def __init__(self, queue: Queue) -> None:
        self._connection: Any = queue.connection.connection_pool.make_connection()
        # The same each time.
        self._command = self._connection.pack_command("EVAL", _HINT_UNLESS_ONE_WAITS, 1, queue.key, HINT)  # type: ignore[no-untyped-call]
        self._unanswered = False

    def send(self) -> None:
        """Hint. Raises `redis.TimeoutError` if the one before is not answered: Redis has that one still to read."""
        if self._connection.is_connected:
            try:
                self.hear()
                # Raises if Redis has left since.
                self._connection.can_read()
            except redis.TimeoutError:
                raise
            except redis.RedisError as error:
                logger.warning("a hint may be lost, the sweeper will find what is due: %s", error)
                self._connection.disconnect()
        self._connection.send_packed_command(self._command)
        self._unanswered = True

    def hear(self) -> None:
        """Wait for the answer to the last hint, if nobody has yet. Raises what Redis says against it."""
        if self._unanswered:
            self._unanswered = False
            self._connection.read_response()


@cache
def _queue() -> HintQueue:
    """Described for RQ and its tools when this process first hints."""
    connection = redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=PATIENCE_S, socket_timeout=PATIENCE_S, retry=None
    )
    queue = HintQueue(connection)
    with connection.pipeline() as pipeline:
        pipeline.sadd(Queue.redis_queues_keys, queue.key)
        queue.create_job("sagas.jobs.drain", job_id=HINT, timeout=-1).save(pipeline=pipeline)
        pipeline.execute()
    return queue


# A child would hint on its parent's lines.
os.register_at_fork(after_in_child=_queue.cache_clear)


def hint(*, wait: bool = False) -> bool:
    """Tell a worker that something is due. Says whether that could be sent; a lost hint breaks nothing.

    With ``wait`` it says whether Redis took it. A hint that still waits is enough: the worker that takes it looks
    after our commit.
    """
    try:
        point("hint")
        queue = _queue()
        line = queue.line()
        try:
            line.send()
            if wait:
                line.hear()
        finally:
            queue.lines.append(line)
    except redis.RedisError as error:
        logger.warning("no hint could be sent, the sweeper will find what is due: %s", error)
        return False
    return True


def drain() -> None:
    """The job: drive all sagas that are due, and the calls they make, for a bounded time."""
    from sagas.driver import drain_due

    if drain_due():
        hint()
