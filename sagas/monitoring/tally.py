"""Sums over every saga that ended and every attempt, which stay right when the sagas are purged.

`count_new` adds what is new to the rows of `Tally` and moves the mark in the same statement; `sums`
reads both the rows and what is newer than the mark in one snapshot. So nothing is missed or counted
twice, whoever reads when.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from time import monotonic, sleep
from typing import Any

from django.db import connection, transaction

from sagas.monitoring.models import TallyMark
from sagas.periodic import periodic
from sagas.steps import minutes, seconds

# Seconds; a time that is none of them counts for the next one.
BOUNDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 86400.0, inf)

# At most so many in a transaction, so that the first run over a grown database blocks nobody.
SAGAS_A_TIME = 5_000
ATTEMPTS_A_TIME = 20_000
# How long the transactions that were open at a look may take to end; else it is for the next run.
PATIENCE_S = 2.0
# An attempt gets its id within this time of the end of its saga, which the same statement writes.
A_COMMIT = seconds(1)

_FINITE = [bound for bound in BOUNDS if bound != inf]
_BOUNDS = f"ARRAY[{', '.join(f'{bound}' for bound in _FINITE)}, 'infinity']::float8[]"
_NEGATED = f"ARRAY[{', '.join(f'{-bound}' for bound in reversed(_FINITE))}]::float8[]"

# width_bucket() puts a value that is a bound into the next bucket; negated, into its own.
_NEW = f"""
    WITH ended AS (
        SELECT definition, '' AS step, '' AS side, status AS outcome, ended_at - created_at AS took
        FROM sagas_sagainstance WHERE ended_at > %(ended_after)s AND ended_at <= %(ended_until)s
    ), tried AS (
        SELECT id, saga_id, step, side, outcome, started_at, ended_at FROM sagas_stepattempt
        WHERE id > %(attempt_after)s AND id <= %(attempt_until)s
        UNION ALL
        SELECT id, saga_id, step, side, outcome, started_at, ended_at FROM sagas_stepattempt
        WHERE id = ANY(%(open)s::bigint[])
    ), new AS (
        SELECT definition, step, side, outcome, extract(epoch FROM took)::float8 AS took FROM (
            SELECT * FROM ended
            UNION ALL
            SELECT saga.definition, tried.step, tried.side, tried.outcome, tried.ended_at - tried.started_at
            FROM tried JOIN sagas_sagainstance saga ON saga.id = tried.saga_id WHERE tried.ended_at IS NOT NULL
        ) AS each
    ), sums AS (
        SELECT definition, step, side, outcome,
               ({_BOUNDS})[{len(BOUNDS)} - width_bucket(-took, {_NEGATED})] AS at_most,
               count(*) AS count, sum(took) AS seconds
        FROM new GROUP BY 1, 2, 3, 4, 5
    )
"""  # noqa: S608 - made of constants
_READ = f"{_NEW} SELECT * FROM sums"  # noqa: S608
_COUNT = f"""
    {_NEW}, counted AS (
        INSERT INTO sagas_tally AS t (definition, step, side, outcome, at_most, count, seconds)
        SELECT * FROM sums
        ON CONFLICT (definition, step, side, outcome, at_most) DO UPDATE
        SET count = t.count + excluded.count, seconds = t.seconds + excluded.seconds
    )
    UPDATE sagas_tallymark SET ended_until = %(ended_until)s, attempt_until = %(attempt_until)s,
        open_attempts = ARRAY(SELECT id FROM tried WHERE ended_at IS NULL)
    WHERE id = 1
"""  # noqa: S608
_COUNTED = "SELECT definition, step, side, outcome, at_most, count, seconds FROM sagas_tally"
_MARK = "SELECT ended_until, attempt_until, open_attempts FROM sagas_tallymark WHERE id = 1"

# Whatever has written by now has a number, and it is below the one that is taken here. The snapshot's xmax
# would not do: a transaction under way can be above it.
_LOOK = """
    SELECT statement_timestamp(), (SELECT coalesce(max(id), 0) FROM sagas_stepattempt),
           pg_current_xact_id()::text::bigint
"""
_HAVE_ENDED = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= %s"
_NEXT_END = """
    SELECT ended_at FROM sagas_sagainstance WHERE ended_at > %s AND ended_at <= %s
    ORDER BY ended_at OFFSET %s LIMIT 1
"""
_NEXT_ATTEMPT = "SELECT id FROM sagas_stepattempt WHERE id > %s AND id <= %s ORDER BY id OFFSET %s LIMIT 1"

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_EVERYTHING: dict[str, Any] = {"ended_until": "infinity", "attempt_until": 2**63 - 1}


@dataclass(frozen=True, slots=True)
class Sum:
    """So many ended so, after at most so many seconds each. ``step`` and ``side`` are empty for sagas."""

    definition: str
    step: str
    side: str
    outcome: str
    at_most: float
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to where has been counted: sagas by their end, attempts by their ids but for those that were open."""

    ended: datetime = _BEGINNING
    attempt: int = 0
    open_attempts: tuple[int, ...] = ()

    @property
    def after(self) -> dict[str, Any]:
        return {"ended_after": self.ended, "attempt_after": self.attempt, "open": list(self.open_attempts)}


def sums() -> Iterator[Sum]:
    """Everything that ever ended. Call it in one snapshot (`audit.one_snapshot`); several rows may speak of the same.

    A read of a small table and of what came since the last count: its time does not grow with the sagas.
    """
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED)
        yield from (Sum(*row) for row in cursor.fetchall())
        cursor.execute(_READ, _mark(cursor).after | _EVERYTHING)
        yield from (Sum(*row) for row in cursor.fetchall())


def counted_until() -> datetime:
    """What ended before is counted with all its attempts, and may go."""
    with connection.cursor() as cursor:
        return max(_mark(cursor).ended - A_COMMIT, _BEGINNING)


def _mark(cursor: Any, lock: str = "") -> Mark:
    cursor.execute(f"{_MARK} {lock}")
    row = cursor.fetchone()
    return Mark(row[0], row[1], tuple(row[2])) if row else Mark()


def count_new() -> bool:
    """Count all that is new, in transactions of its own. Says whether it could.

    Only what no transaction under way can add to is counted: it looks, and waits for those to end.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOOK)
        ended, attempt, number = cursor.fetchone()
        until = monotonic() + PATIENCE_S
        while not _have_ended(cursor, number):
            if monotonic() > until:
                return False
            sleep(0.02)
    while _count_some(Mark(ended, attempt)):
        pass
    return True


def _have_ended(cursor: Any, number: int) -> bool:
    """Whether every transaction below this number has ended."""
    cursor.execute(_HAVE_ENDED, [number])
    return bool(cursor.fetchone()[0])


def _count_some(goal: Mark) -> bool:
    """Get some way nearer to the goal, in one transaction. Says whether it is still ahead."""
    TallyMark.objects.get_or_create(id=1, defaults={"ended_until": _BEGINNING, "attempt_until": 0, "open_attempts": []})
    with transaction.atomic(), connection.cursor() as cursor:
        mark = _mark(cursor, "FOR UPDATE")
        cursor.execute(_NEXT_END, [mark.ended, goal.ended, SAGAS_A_TIME - 1])
        ended = next((at for (at,) in cursor.fetchall()), max(goal.ended, mark.ended))
        cursor.execute(_NEXT_ATTEMPT, [mark.attempt, goal.attempt, ATTEMPTS_A_TIME - 1])
        attempt = next((number for (number,) in cursor.fetchall()), max(goal.attempt, mark.attempt))
        cursor.execute(_COUNT, mark.after | {"ended_until": ended, "attempt_until": attempt})
    return ended < goal.ended or attempt < goal.attempt


@periodic(every=seconds(5), limit=minutes(10))
def keep_tally() -> dict[str, bool]:
    """Every few seconds, so that little is left to be read with the sums."""
    return {"counted": count_new()}
