"""Work that is done again and again, in one place at a time. The sweepers see to it.

One row a job decides, by the database's clock: whoever moves its ``last_started_at`` on runs it. A
job runs on a thread of its own, so that a long one never holds up the hints.
"""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import close_old_connections, connection, connections

from sagas.redaction import message_of
from sagas.steps import minutes
from sagas.turns import WEATHER

logger = logging.getLogger(__name__)

LIMIT = minutes(2)

# A run that died with its process; and a job whose runs hang, or that takes its process with it.
DIED = "the run before did not come back"
DIED_AGAIN = "several runs did not come back"

F = TypeVar("F", bound=Callable[[], object])


@dataclass(frozen=True, slots=True)
class Job:
    """``limit`` is how long a run may take; one that has not come back by then counts as dead."""

    name: str
    function: Callable[[], object]
    every: timedelta
    limit: timedelta


registry: list[Job] = []


def periodic(*, every: timedelta, limit: timedelta = LIMIT) -> Callable[[F], F]:
    """Run the decorated function once in each period, in one of the sweepers; it is named by its module path.

    Register it in `AppConfig.ready`. What it returns is stored as JSON and shown to operators. What it
    raises is stored as well, and stops neither the sweep nor another job. A run that dies is taken up
    after ``limit`` by another, and one that is only slow may meet its successor then: let it be harmless twice.
    """

    def register(function: F) -> F:
        job = Job(f"{function.__module__}.{function.__qualname__}", function, every, limit)
        if job not in registry:
            registry.append(job)
        return function

    return register


_IS_DUE = """
    job.last_started_at <= statement_timestamp() - make_interval(secs => {every})
    AND (job.last_ended_at IS NOT NULL
         OR job.last_started_at <= statement_timestamp() - make_interval(secs => {limit}))
"""

# A look first: an insert that meets its conflict writes to the row even if it then changes nothing.
_DUE = f"""
    SELECT r.name FROM jsonb_to_recordset(%s::jsonb) AS r(name text, every float, time_limit float)
    LEFT JOIN sagas_periodicjob job ON job.name = r.name
    WHERE job.name IS NULL OR
        ({_IS_DUE.format(every="r.every", limit="r.time_limit")})
"""  # noqa: S608 - made of constants

# Of several sweepers one inserts or moves the row; the others wait for it and find the job no longer due.
_CLAIM = f"""
    INSERT INTO sagas_periodicjob AS job (name, last_started_at, last_error)
    VALUES (%(name)s, clock_timestamp(), '')
    ON CONFLICT (name) DO UPDATE SET last_started_at = clock_timestamp(), last_ended_at = NULL,
        last_error = CASE WHEN job.last_ended_at IS NOT NULL THEN job.last_error
                          WHEN job.last_error IN ('{DIED}', '{DIED_AGAIN}') THEN '{DIED_AGAIN}' ELSE '{DIED}' END
    WHERE {_IS_DUE.format(every="%(every)s", limit="%(time_limit)s")}
    RETURNING last_started_at
"""  # noqa: S608

# The time of its start is a run's fence: one that was given up writes nothing.
_END = """
    UPDATE sagas_periodicjob SET last_ended_at = clock_timestamp(), last_error = %(error)s,
        last_result = CASE WHEN %(error)s = '' THEN %(result)s::jsonb ELSE last_result END
    WHERE name = %(name)s AND last_started_at = %(started_at)s AND last_ended_at IS NULL
"""


def run_due() -> list[threading.Thread]:
    """Start every job that is due and that no sweeper runs. Returns the threads, at once."""
    jobs = {job.name: job for job in registry}
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [json.dumps([_parameters(job) for job in jobs.values()])])
        due = [name for (name,) in cursor.fetchall()]
    return [thread for thread in (_start(jobs[name]) for name in due) if thread is not None]


def _start(job: Job) -> threading.Thread | None:
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, _parameters(job))
        claimed = cursor.fetchone()
    if claimed is None:
        return None
    # A daemon: the end of the process does not wait for it longer than the sweeper wants to.
    thread = threading.Thread(target=_run, args=[job, claimed[0]], name=job.name, daemon=True)
    thread.start()
    return thread


def _parameters(job: Job) -> dict[str, Any]:
    return {"name": job.name, "every": job.every.total_seconds(), "time_limit": job.limit.total_seconds()}


def _run(job: Job, started_at: datetime) -> None:
    try:
        _end(job, started_at, **_outcome(job))
    except WEATHER as error:
        logger.warning("the end of %s cannot be written down, it runs again after its limit: %s", job.name, error)
    finally:
        connections.close_all()


def _outcome(job: Job) -> dict[str, Any]:
    try:
        return {"result": json.dumps(job.function()), "error": ""}
    except Exception as error:
        logger.exception("the periodic job %s failed", job.name)
        return {"result": None, "error": message_of(f"{type(error).__name__}: {error}")}


def _end(job: Job, started_at: datetime, *, result: str | None, error: str) -> None:
    close_old_connections()  # the job may have met a database that restarts
    with connection.cursor() as cursor:
        cursor.execute(_END, {"name": job.name, "started_at": started_at, "result": result, "error": error})
        if not cursor.rowcount:
            logger.warning("%s took longer than its limit of %s; another run has taken over", job.name, job.limit)
