"""The RQ side: a hint that something is due, and the job that drains what is.

A hint may be lost, doubled or late; ``wake_at`` is the truth and the sweeper finds it.
"""

import logging
from functools import cache

import redis
from django.conf import settings
from rq import Queue
from rq.serializers import JSONSerializer

from sagas.failpoints import point

logger = logging.getLogger(__name__)

QUEUE = "sagas"
HINT = "saga-hint"

# One round trip, and none between the look and the push.
_HINT_UNLESS_ONE_WAITS = """
    if redis.call('LLEN', KEYS[1]) == 0 then
        redis.call('RPUSH', KEYS[1], ARGV[1])
    end
"""

# The web request that starts a saga hints on its way out; a slow Redis must not make it wait.
PATIENCE_S = 0.05


@cache
def _queue() -> Queue:
    """With the one job that all hints are, which waits or does not."""
    connection = redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=PATIENCE_S, socket_timeout=PATIENCE_S, retry=None
    )
    queue = Queue(QUEUE, connection=connection, serializer=JSONSerializer)
    with connection.pipeline() as pipeline:
        pipeline.sadd(Queue.redis_queues_keys, queue.key)
        queue.create_job("sagas.jobs.drain", job_id=HINT, timeout=-1).save(pipeline=pipeline)
        pipeline.execute()
    return queue


def hint() -> bool:
    """Tell a worker that something is due. Says whether Redis took it; a lost hint breaks nothing.

    A hint that still waits is enough: the worker that takes it looks after our commit.
    """
    try:
        point("hint")
        queue = _queue()
        queue.connection.eval(_HINT_UNLESS_ONE_WAITS, 1, queue.key, HINT)
    except redis.RedisError as error:
        logger.warning("no hint could be sent, the sweeper will find what is due: %s", error)
        return False
    return True


def drain() -> None:
    """The job: drive all sagas that are due, and the calls they make, for a bounded time."""
    from sagas.driver import drain_due

    if drain_due():
        hint()
