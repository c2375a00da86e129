"""The life of sagas beyond one run: would this code carry the live ones on, and when do the ended ones go."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from sagas import denials
from sagas.monitoring import tally
from sagas.periodic import periodic
from sagas.states import LIVE, CompensationStatus, SagaStatus
from sagas.steps import minutes
from sagas.store import plan_for

# How much longer than a batch of the purge the pause after it is: the live sagas need the database, too.
REST = 14

# Live sagas by what they run under and which steps have a state; few groups, however many sagas.
_INFLIGHT = """
    SELECT definition, definition_version, steps, count(*), min(business_key)
    FROM (
        SELECT s.definition, s.definition_version, s.business_key, (
            SELECT coalesce(jsonb_agg(jsonb_build_array(t.position, t.name, t.kind) ORDER BY t.position), '[]')
            FROM sagas_sagastep t WHERE t.saga_id = s.id
        )::text AS steps
        FROM sagas_sagainstance s WHERE s.status = ANY(%s)
    ) live
    GROUP BY definition, definition_version, steps ORDER BY definition, definition_version, steps
"""

# What people touched, accepted or have still to look at is kept longer, and a cause as long as its effect. An abandoned
# one stays for good: only it says that what it left behind was left knowingly. One that holds a lock after its end,
# which the auditor tells of, is kept until that is mended: it would stop the whole purge.
_ENDED = """
    SELECT id, definition, business_key FROM sagas_sagainstance s
    WHERE ended_at < least(statement_timestamp() - %(after)s, %(counted)s) AND status <> %(abandoned)s AND (
        ended_at < statement_timestamp() - %(touched_after)s
        OR NOT (
            attention <> ''
            OR EXISTS (SELECT FROM sagas_operation o WHERE o.saga_id = s.id)
            OR EXISTS (SELECT FROM sagas_sagastep t WHERE t.saga_id = s.id AND t.compensation = %(waived)s)
        )
    ) AND NOT EXISTS (SELECT FROM sagas_sagainstance c WHERE c.caused_by_id = s.id)
    AND NOT EXISTS (SELECT FROM sagas_semanticlock l WHERE l.saga_id = s.id)
    AND NOT EXISTS (SELECT FROM sagas_lockwaiter w WHERE w.saga_id = s.id)
    ORDER BY ended_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""

_PURGE = f"""
    WITH ended AS ({_ENDED}),
    steps AS (DELETE FROM sagas_sagastep t USING ended WHERE t.saga_id = ended.id),
    attempts AS (DELETE FROM sagas_stepattempt a USING ended WHERE a.saga_id = ended.id),
    events AS (DELETE FROM sagas_sagaevent e USING ended WHERE e.saga_id = ended.id),
    operations AS (DELETE FROM sagas_operation o USING ended WHERE o.saga_id = ended.id),
    proposals AS (DELETE FROM sagas_proposal p USING ended WHERE p.saga_id = ended.id),
    bulk AS (UPDATE sagas_bulkitem i SET saga_id = NULL FROM ended WHERE i.saga_id = ended.id),
    signals AS (
        DELETE FROM sagas_signal g USING ended
        WHERE g.definition = ended.definition AND g.business_key = ended.business_key
    )
    DELETE FROM sagas_sagainstance s USING ended WHERE s.id = ended.id
"""  # noqa: S608 - made of constants

# The signals that are kept for a saga are the few of `signal_buffered`.
_PURGE_SIGNALS = """
    DELETE FROM sagas_signal WHERE id IN (
        SELECT id FROM sagas_signal kept
        WHERE consumed_at IS NULL AND late = '' AND received_at < statement_timestamp() - make_interval(secs => %s)
            AND NOT EXISTS (
                SELECT FROM sagas_sagainstance s
                WHERE s.definition = kept.definition AND s.business_key = kept.business_key)
        LIMIT %s)
"""


@dataclass(frozen=True, slots=True)
class Inflight:
    """Live sagas that stand alike: how many, the key of one of them, and whether this code would go on with them."""

    definition: str
    version: int
    count: int
    example: str
    steps: tuple[str, ...]
    can_go_on: bool


def inflight() -> list[Inflight]:
    """Every live saga, in groups, with whether this code would finish it or undo it. Reads only."""
    with connection.cursor() as cursor:
        cursor.execute(_INFLIGHT, [sorted(LIVE)])
        rows = cursor.fetchall()
    groups = []
    for definition, version, steps_text, count, example in rows:
        touched = [tuple(step) for step in json.loads(steps_text)]
        can_go_on = plan_for(definition, version, touched) is not None
        names = tuple(name for _, name, _ in touched)
        groups.append(Inflight(definition, version, count, example, names, can_go_on))
    return groups


def purge(
    *,
    after: timedelta | None = None,
    touched_after: timedelta | None = None,
    batch: int = 200,
    most: int = 400_000,
    rest: float = REST,
    tell: Callable[[int], object] = lambda purged: None,
) -> int:
    """Delete sagas that ended ``after`` ago, with all their rows, in batches of one commit each. Returns how many.

    After each batch it rests, ``rest`` times as long as the batch took: a busy database is given more time.
    In an hour ``most`` keeps up with ten million sagas a day.

    Those that a person operated on, have a waived compensation or still raise attention are kept for
    ``touched_after``. Abandoned and live ones are never touched, nor what the metrics have not counted
    yet. Times are settings by default.
    ``tell`` gets the count after each batch.
    """
    if after is None:
        after = timedelta(days=settings.SAGAS_KEEP_DAYS)
    if touched_after is None:
        touched_after = timedelta(days=settings.SAGAS_KEEP_TOUCHED_DAYS)
    parameters: dict[str, Any] = {
        "after": after,
        "touched_after": touched_after,
        "abandoned": SagaStatus.ABANDONED,
        "waived": CompensationStatus.WAIVED,
        "limit": batch,
    }
    tally.count_new()
    parameters["counted"] = tally.counted_until()
    purged = 0
    while purged < most:
        began = monotonic()
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_PURGE, parameters)
            count = cursor.rowcount
        purged += count
        tell(purged)
        if count < batch:
            break
        sleep(rest * (monotonic() - began))
    return purged


def purge_signals(*, after: timedelta | None = None, batch: int = 1_000) -> int:
    """Delete signals that were kept for longer than ``after`` and whose saga never came. Returns how many.

    By default after as long as ended sagas are kept, in batches of one commit each. The auditor has told of them.
    """
    if after is None:
        after = timedelta(days=settings.SAGAS_KEEP_DAYS)
    purged, count = 0, batch
    while count == batch:
        with connection.cursor() as cursor:
            cursor.execute(_PURGE_SIGNALS, [after.total_seconds(), batch])
            count = cursor.rowcount
        purged += count
    return purged


@periodic(every=minutes(60), limit=minutes(30))
def purge_ended() -> dict[str, int]:
    """The hourly purge, with signals whose saga never came, and what was denied long ago."""
    return {"purged": purge(), "signals": purge_signals(), "denials": denials.forget_old()}
