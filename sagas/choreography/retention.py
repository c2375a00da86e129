"""Events go when nobody has to read them any more: after the sagas of all that was done about their flow."""

from datetime import timedelta

from django.conf import settings
from django.db import connection

from sagas.periodic import periodic
from sagas.steps import minutes

_PURGE = """
    DELETE FROM sagas_outboxevent WHERE id IN (
        SELECT id FROM sagas_outboxevent old
        WHERE time < statement_timestamp() - make_interval(secs => %s) AND due_at IS NULL AND NOT EXISTS (
            SELECT FROM sagas_outboxevent same JOIN sagas_sagainstance saga ON saga.business_key = same.event_id::text
            WHERE same.correlation_id = old.correlation_id)
        ORDER BY time LIMIT %s)
"""


def purge_events(*, after: timedelta | None = None, batch: int = 1_000, most: int = 200_000) -> int:
    """Delete events older than ``after``, by default as long as sagas are kept, in batches of one commit each."""
    if after is None:
        after = timedelta(days=settings.SAGAS_KEEP_DAYS)
    purged = 0
    while purged < most:
        with connection.cursor() as cursor:
            cursor.execute(_PURGE, [after.total_seconds(), batch])
            count = cursor.rowcount
        purged += count
        if count < batch:
            break
    return purged


@periodic(every=minutes(60), limit=minutes(30))
def purge_old_events() -> dict[str, int]:
    """The hourly purge of the outbox."""
    return {"purged": purge_events()}
