"""The figures of the dashboard. Each is one statement that reads a bounded number of rows by an index.

Nothing is counted to the end of a table: of what is under way as many as `MOST_LIVE` of each status are
counted, of what ended or failed the newest `MOST_ENDED`, `MOST_ATTEMPTS` and `MOST_FAILURES`. Where there
are more, the window of time is as long as the rows that were read, and the page says so.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils.timezone import now

from sagas.states import LIVE, SagaStatus

MOST_LIVE = 5_000
MOST_ENDED = 10_000
MOST_ATTEMPTS = 2_000
MOST_FAILURES = 2_000
MOST_GROUPS = 20
MOST_STEPS = 60
BUCKETS = 30

# Each status by its name: of one that it is not told PostgreSQL thinks that a large part of the table has it.
_OF_STATUS = "(SELECT status, definition FROM sagas_sagainstance WHERE status = '{}' ORDER BY id DESC LIMIT %(most)s)"
_LIVE = f"""
    SELECT status, definition, count(*) FROM ({" UNION ALL ".join(map(_OF_STATUS.format, sorted(LIVE)))}) AS counted
    GROUP BY 1, 2
"""  # noqa: S608 - made of constants
# What has more in it than is read begins later: at the oldest row that is.
_ENDED_SINCE = """
    SELECT ended_at FROM sagas_sagainstance WHERE ended_at >= %(since)s
    ORDER BY ended_at DESC OFFSET %(most)s LIMIT 1
"""
# Ids begin with the time of the start, so they are its index; nothing else is read, so that the index will do.
_STARTED_SINCE = """
    SELECT id FROM sagas_sagainstance WHERE id >= %(first_id)s ORDER BY id DESC OFFSET %(most)s LIMIT 1
"""
_ENDED = """
    SELECT least(floor(extract(epoch FROM ended_at - %(since)s) / %(width)s), %(last)s)::int AS bucket, status,
           count(*), percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY ended_at - created_at)
    FROM sagas_sagainstance
    WHERE ended_at >= %(since)s AND (%(definition)s = '' OR definition = %(definition)s)
    GROUP BY GROUPING SETS ((1, 2), ())
"""
_STARTED = """
    SELECT least(floor(extract(epoch FROM created_at - %(since)s) / %(width)s), %(last)s)::int AS bucket, count(*)
    FROM sagas_sagainstance
    WHERE id >= %(first_id)s AND created_at >= %(since)s AND (%(definition)s = '' OR definition = %(definition)s)
    GROUP BY 1
"""
_STEPS = """
    SELECT saga.definition, tried.step, tried.side, min(tried.position), count(*),
           count(*) FILTER (WHERE tried.outcome NOT IN ('DONE', '')),
           percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY tried.ended_at - tried.started_at)
               FILTER (WHERE tried.outcome = 'DONE')
    FROM (SELECT * FROM sagas_stepattempt ORDER BY id DESC LIMIT %(most)s) AS tried
    JOIN sagas_sagainstance saga ON saga.id = tried.saga_id
    WHERE tried.started_at >= %(since)s AND (%(definition)s = '' OR saga.definition = %(definition)s)
    GROUP BY 1, 2, 3 ORDER BY 1, 3, 4 LIMIT %(groups)s
"""
_FAILURES = """
    WITH failed AS (
        SELECT * FROM sagas_stepattempt WHERE fingerprint <> '' ORDER BY id DESC LIMIT %(most)s
    ), grouped AS (
        SELECT failed.fingerprint, max(failed.id) AS newest, count(*) AS attempts,
               count(DISTINCT failed.saga_id) AS sagas, max(failed.started_at) AS last_at
        FROM failed JOIN sagas_sagainstance saga ON saga.id = failed.saga_id
        WHERE failed.started_at >= %(since)s AND (%(definition)s = '' OR saga.definition = %(definition)s)
        GROUP BY 1 ORDER BY sagas DESC, newest DESC LIMIT %(groups)s
    )
    SELECT grouped.fingerprint, attempts, sagas, first.started_at, last_at, saga.definition, one.step, one.side,
           one.outcome, one.error_class, one.message
    FROM grouped JOIN sagas_stepattempt one ON one.id = grouped.newest
    JOIN sagas_sagainstance saga ON saga.id = one.saga_id,
    LATERAL (SELECT started_at FROM sagas_stepattempt WHERE fingerprint = grouped.fingerprint AND fingerprint <> ''
             ORDER BY id LIMIT 1) AS first
    ORDER BY sagas DESC, newest DESC
"""


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when; ``cut`` when less was read than was asked for. ``definition`` is empty for all of them."""

    since: datetime
    until: datetime
    definition: str
    cut: bool

    @property
    def length(self) -> timedelta:
        return self.until - self.since

    @property
    def bucket(self) -> timedelta:
        return self.length / BUCKETS


@dataclass(frozen=True, slots=True)
class Ended:
    """What started and what ended, in buckets of time, and how long it took from start to end."""

    started: list[int]
    by_status: dict[str, list[int]]
    median: timedelta | None
    slow: timedelta | None

    def total(self, *statuses: str) -> int:
        return sum(sum(self.by_status.get(status, ())) for status in statuses or self.by_status)


@dataclass(frozen=True, slots=True)
class StepFigures:
    """Of one side of a step: how often it was tried, how often in vain, and how long it took when it went well."""

    definition: str
    step: str
    side: str
    tries: int
    failures: int
    median: timedelta | None
    slow: timedelta | None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures that look the same: ``attempts`` and ``sagas`` in the window, ``first_at`` ever."""

    fingerprint: str
    attempts: int
    sagas: int
    first_at: datetime
    last_at: datetime
    definition: str
    step: str
    side: str
    outcome: str
    error_class: str
    message: str


def live_counts(definition: str) -> tuple[dict[str, int], bool]:
    """How many are in each status that is no end; and whether there are more than were counted."""
    counts: dict[str, int] = {status: 0 for status in SagaStatus if status in LIVE}
    read = dict.fromkeys(counts, 0)
    for status, name, count in _rows(_LIVE, most=MOST_LIVE):
        read[status] += count
        counts[status] += count if definition in ("", name) else 0
    return counts, max(read.values()) >= MOST_LIVE


def window(period: timedelta, definition: str) -> Window:
    """The time of which everything can be read."""
    until = now()
    since = until - period
    cuts = [ended_at for (ended_at,) in _rows(_ENDED_SINCE, since=since, most=MOST_ENDED)]
    cuts += [_time_of(started) for (started,) in _rows(_STARTED_SINCE, first_id=_first_id(since), most=MOST_ENDED)]
    return Window(max([since, *cuts]), until, definition, bool(cuts))


def ended_in(asked: Window) -> Ended:
    told = _told(asked)
    by_status: dict[str, list[int]] = {}
    durations: list[timedelta] | None = None
    for bucket, status, count, percentiles in _rows(_ENDED, **told):
        if status is None:
            durations = percentiles
        else:
            by_status.setdefault(status, [0] * BUCKETS)[max(bucket, 0)] = count
    started = [0] * BUCKETS
    for bucket, count in _rows(_STARTED, **told, first_id=_first_id(asked.since)):
        started[max(bucket, 0)] = count
    median, slow = durations or (None, None)
    return Ended(started, by_status, median, slow)


def steps_in(asked: Window) -> list[StepFigures]:
    """The steps that were tried among the newest attempts, in the order of their plans."""
    rows = _rows(_STEPS, **_told(asked), most=MOST_ATTEMPTS, groups=MOST_STEPS)
    return [
        StepFigures(definition, step, side, tries, failures, *(percentiles or (None, None)))
        for definition, step, side, _, tries, failures, percentiles in rows
    ]


def failures_in(asked: Window) -> list[FailureGroup]:
    """The failures by what they have in common, those that hit most sagas first."""
    rows = _rows(_FAILURES, **_told(asked), most=MOST_FAILURES, groups=MOST_GROUPS)
    return [FailureGroup(*row) for row in rows]


def _told(asked: Window) -> dict[str, Any]:
    width = max(asked.bucket.total_seconds(), 0.001)
    return {"since": asked.since, "width": width, "last": BUCKETS - 1, "definition": asked.definition}


def _rows(statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def _first_id(at: datetime) -> UUID:
    """The least id of a saga that was started then or later: version 7 begins with the milliseconds since 1970."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


def _time_of(started: UUID) -> datetime:
    return datetime.fromtimestamp((started.int >> 80) / 1000, UTC)
