"""Alerts: one row for each trouble while it lasts, and a message to each channel at its beginning and its end.

Rows and messages are one commit, so that nothing that was found is forgotten to be told.
"""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import connection, connections, transaction
from django.utils.timezone import now

from sagas import driver
from sagas.monitoring.conditions import Finding, findings, is_sweeper_silent
from sagas.monitoring.messages import channels, send_due
from sagas.monitoring.models import Alert
from sagas.periodic import periodic
from sagas.steps import minutes, seconds
from sagas.turns import WEATHER

logger = logging.getLogger(__name__)

# How often a worker looks whether a sweeper runs.
LOOK_S = 30.0

# Of several that look at the same moment one writes; the number is this table's own.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(7240113)"
_OPEN = """
    INSERT INTO sagas_alert AS alert (condition, fingerprint, code, subject, message, count, saga_id,
        opened_at, seen_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, statement_timestamp(), statement_timestamp())
    ON CONFLICT (fingerprint) WHERE resolved_at IS NULL DO UPDATE SET subject = excluded.subject, code = excluded.code,
        message = excluded.message, count = excluded.count, saga_id = excluded.saga_id, seen_at = excluded.seen_at
    RETURNING id, opened_at = seen_at
"""
_RESOLVE = """
    UPDATE sagas_alert SET resolved_at = statement_timestamp()
    WHERE resolved_at IS NULL AND NOT fingerprint = ANY(%s) AND NOT condition = ANY(%s) RETURNING id
"""
_TELL = """
    INSERT INTO sagas_alertmessage (alert_id, channel, news, due_at, tries, last_error)
    SELECT alert, channel, %s, statement_timestamp(), 0, '' FROM unnest(%s::bigint[]) alert, unnest(%s::text[]) channel
    ON CONFLICT DO NOTHING
"""


def look() -> dict[str, int]:
    """Open an alert for each trouble that has none, and resolve those whose trouble is over. Harmless twice.

    What was not seen since there is too much of it, or since the look for it failed, is not over.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_ONE_AT_A_TIME)
        all_found, half_seen = findings()
        found = {finding.fingerprint: finding for finding in all_found}
        opened = [pk for pk, is_new in map(_open, found.values()) if is_new]
        cursor.execute(_RESOLVE, [list(found), list(half_seen)])
        resolved = [pk for (pk,) in cursor.fetchall()]
        cursor.execute(_TELL, ["opened", opened, channels()])
        cursor.execute(_TELL, ["resolved", resolved, channels()])
    return {"open": len(found), "opened": len(opened), "resolved": len(resolved)}


def _open(finding: Finding) -> tuple[int, bool]:
    with connection.cursor() as cursor:
        cursor.execute(
            _OPEN,
            [
                finding.condition,
                finding.fingerprint,
                finding.code,
                finding.subject,
                finding.message,
                finding.count,
                finding.saga,
            ],
        )
        pk, is_new = cursor.fetchone()
    return pk, is_new


@periodic(every=seconds(30))
def watch() -> dict[str, int]:
    """Look, and tell."""
    return look()


@periodic(every=seconds(5), limit=minutes(5))
def tell() -> dict[str, int]:
    """Send what is due to be told."""
    return {"sent": send_due()}


@periodic(every=timedelta(days=1))
def forget_resolved() -> dict[str, int]:
    """Alerts are kept as long as the sagas that a person touched."""
    old = Alert.objects.filter(resolved_at__lt=now() - timedelta(days=settings.SAGAS_KEEP_TOUCHED_DAYS))
    return {"forgotten": old.delete()[1].get("sagas.Alert", 0)}


def watch_over_sweepers() -> None:
    """For a thread of each worker: when no sweeper runs, nobody else would look, nor tell."""
    while not driver.stopping():
        driver.wait_to_stop(LOOK_S)
        try:
            if is_sweeper_silent():
                look()
                send_due()
        except WEATHER as error:
            logger.warning("nobody can tell whether a sweeper runs: %s", error)
        except Exception:
            logger.exception("the watch over sweepers failed, the next look follows")
        finally:
            connections.close_all()
