"""Tells alerts by mail and by signed webhook: outside of any transaction, within a time limit, until they are taken.

A message is sent at least once. One that was taken, but whose answer was lost, comes again with the same id.
"""

import hashlib
import hmac
import json
import logging
from datetime import datetime, timedelta
from typing import Any

import requests
from django.conf import settings
from django.core.mail import send_mail
from django.db import connection
from django.urls import NoReverseMatch, reverse
from django.utils.timezone import now

from sagas.monitoring.models import Alert, AlertMessage
from sagas.monitoring.playbook import play
from sagas.redaction import message_of

logger = logging.getLogger(__name__)

TIMEOUT_S = (3.0, 10.0)
# Longer than sending takes: a message whose sender died is due again then.
LEASE = timedelta(minutes=2)
FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=1)
AT_ONCE = 20

# The end of an alert is told after its beginning.
# `= (SELECT ...)` is asked once. `IN` may become a join that asks once a row, and claims another each time.
_CLAIM = """
    UPDATE sagas_alertmessage SET due_at = statement_timestamp() + %(lease)s, tries = tries + 1
    WHERE id = (
        SELECT id FROM sagas_alertmessage message
        WHERE due_at <= statement_timestamp() AND channel <> ALL(%(failed)s) AND NOT EXISTS (
            SELECT FROM sagas_alertmessage earlier WHERE earlier.alert_id = message.alert_id
            AND earlier.channel = message.channel AND earlier.id < message.id AND earlier.due_at IS NOT NULL)
        ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id
"""
# Whoever took longer than the lease does not speak for the next try.
_SENT = """
    UPDATE sagas_alertmessage SET due_at = NULL, sent_at = clock_timestamp(), last_error = '' WHERE id = %s
"""
_FAILED = """
    UPDATE sagas_alertmessage SET due_at = statement_timestamp() + %s, last_error = %s WHERE id = %s AND tries = %s
"""


class NotTaken(Exception):
    """The other side answered, and did not take the message."""


def channels() -> list[str]:
    """Where alerts are told, as the settings say."""
    mail = ["mail"] if settings.SAGAS_ALERT_EMAILS else []
    return mail + (["webhook"] if settings.SAGAS_ALERT_WEBHOOK_URL else [])


def send_due() -> int:
    """Send every message that is due; returns how many were taken. What fails is due again, ever later."""
    taken = 0
    failed: list[str] = []
    parameters: dict[str, Any] = {"lease": LEASE, "failed": failed}
    for _ in range(AT_ONCE):
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, parameters)
            claimed = cursor.fetchone()
        if claimed is None:
            break
        message = AlertMessage.objects.select_related("alert").get(pk=claimed[0])
        if _send(message):
            taken += 1
        else:
            # One channel that hangs does not hold up the other.
            failed.append(message.channel)
    return taken


def _send(message: AlertMessage) -> bool:
    try:
        {"mail": _mail, "webhook": _post}[message.channel](message)
    except Exception as error:
        # Whatever it was: it is written down, and tried again.
        logger.warning("alert message %s was not taken: %s", message.pk, error)
        pause = min(FIRST_PAUSE * 2 ** min(message.tries - 1, 16), LONGEST_PAUSE)
        words = message_of(f"{type(error).__name__}: {error}")
        with connection.cursor() as cursor:
            cursor.execute(_FAILED, [pause, words, message.pk, message.tries])
        return False
    with connection.cursor() as cursor:
        cursor.execute(_SENT, [message.pk])
    return True


# --- by mail --------------------------------------------------------------------------------------


def _mail(message: AlertMessage) -> None:
    if not settings.SAGAS_ALERT_EMAILS:
        raise NotTaken("SAGAS_ALERT_EMAILS is empty")
    mark = "RESOLVED" if message.news == "resolved" else "ALERT"
    subject = " ".join(f"[{mark}] {message.alert}".split())[:200]
    send_mail(subject, text_of(message.alert, message.news), None, settings.SAGAS_ALERT_EMAILS)


def text_of(alert: Alert, news: str) -> str:
    """The mail: what it is, where to look, and what to do."""
    lines = [str(alert), "", alert.message, ""]
    if news == "resolved":
        lines += [f"It is over: since {_words(alert.opened_at)}, until {_words(alert.resolved_at)}."]
        return "\n".join([*lines, "", alert_url(alert)])
    lines += [f"Since {_words(alert.opened_at)}, {alert.count} at the last look.", "", f"Alert: {alert_url(alert)}"]
    lines += [f"Saga:  {saga_url(alert)}"] if alert.saga_id else []
    if found := play(alert.code):
        steps = [f"{number}. {step}" for number, step in enumerate(found.steps, 1)]
        lines += ["", f"{found.title}. {found.meaning}", "", *steps]
    return "\n".join(lines)


def _words(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at else ""


def alert_url(alert: Alert) -> str:
    return _public("admin:sagas_alert_change", alert.pk)


def saga_url(alert: Alert) -> str:
    """The page of one of the sagas it is about; empty where there is none."""
    return _public("admin:sagas_sagainstance_change", alert.saga_id) if alert.saga_id else ""


def _public(name: str, pk: object) -> str:
    try:
        return f"{settings.PUBLIC_URL.rstrip('/')}{reverse(name, args=[pk])}"
    except NoReverseMatch:
        return ""


# --- by webhook -----------------------------------------------------------------------------------


def _post(message: AlertMessage) -> None:
    if not settings.SAGAS_ALERT_WEBHOOK_URL:
        raise NotTaken("SAGAS_ALERT_WEBHOOK_URL is empty")
    body = json.dumps(document_of(message)).encode()
    at = int(now().timestamp())
    headers = {"Content-Type": "application/json", "Saga-Signature": signature_of(body, at)}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            settings.SAGAS_ALERT_WEBHOOK_URL,
            data=body,
            headers=headers,
            timeout=TIMEOUT_S,
            allow_redirects=False,
            stream=True,  # the answer's body is of no interest, and may be endless
        )
    if not 200 <= answer.status_code < 300:
        raise NotTaken(f"the webhook answered {answer.status_code}")


def document_of(message: AlertMessage) -> dict[str, Any]:
    alert = message.alert
    found = play(alert.code)
    return {
        "id": f"alert-message-{message.pk}",
        "news": message.news,
        "alert": {
            "id": alert.pk,
            "fingerprint": alert.fingerprint,
            "condition": alert.condition,
            "code": alert.code,
            "urgent": found.urgent if found else True,
            "subject": alert.subject,
            "message": alert.message,
            "count": alert.count,
            "opened_at": alert.opened_at.isoformat(),
            "resolved_at": alert.resolved_at.isoformat() if alert.resolved_at else None,
            "link": alert_url(alert),
            "saga": str(alert.saga_id) if alert.saga_id else None,
            "saga_link": saga_url(alert),
        },
    }


def signature_of(body: bytes, at: int) -> str:
    """``t=<seconds since 1970>,v1=<HMAC-SHA256 over "t.body">``, as Stripe signs its webhooks."""
    key = settings.SAGAS_ALERT_WEBHOOK_SECRET.encode()
    digest = hmac.new(key, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
