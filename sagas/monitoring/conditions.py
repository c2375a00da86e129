"""What is wrong right now, as findings: reads only, each through an index, none longer than a page.

Sagas that fail alike are one finding, so that an outage of the bank is one alert and not ten thousand.
"""

import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from sagas.invariants import DUE_SAGAS_ARE_TAKEN_UP
from sagas.monitoring.models import Condition
from sagas.periodic import DIED
from sagas.redaction import words_of
from sagas.states import LIVE
from sagas.steps import minutes

logger = logging.getLogger(__name__)

# More are not looked at: whoever is told of these mends the cause first.
MOST = 1_000
# The audit of every minute is a periodic job, so that a sweeper that runs is heard of at least so often.
SWEEPER_PATIENCE = minutes(3)
WORKERS_PATIENCE = minutes(5)
MAX_SUBJECT = 300


@dataclass(frozen=True, slots=True)
class Finding:
    """One trouble: ``subject`` says in a line what it is about, ``sagas`` are examples of it."""

    condition: Condition
    code: str
    same: tuple[str, ...]
    subject: str
    message: str
    count: int = 1
    saga: UUID | None = None

    @property
    def fingerprint(self) -> str:
        """The same while the trouble is the same, whatever is counted and said of it."""
        return hashlib.blake2b("|".join((self.condition, *self.same)).encode(), digest_size=16).hexdigest()


class MoreThanLookedAt(Exception):
    """There are more rows than a look reads: what it has not seen need not be over."""


def findings() -> tuple[list[Finding], set[Condition]]:
    """What is wrong, and the conditions of which not everything was seen, since there is too much or a look failed."""
    found: list[Finding] = []
    half_seen: set[Condition] = set()
    for find, about in FINDERS.items():
        try:
            with transaction.atomic():  # a statement that fails does not end the transaction of the others
                for finding in find():
                    found.append(finding)
        except MoreThanLookedAt:
            half_seen |= about
        except Exception as error:
            if not connection.is_usable():
                raise
            logger.exception("%s failed; what it looks for is not told", find.__name__)
            half_seen |= about
            found.append(_finder_failed(find.__name__, error))
    return found, half_seen


def _finder_failed(name: str, error: Exception) -> Finding:
    subject = f"the look for alerts: {name}"
    return Finding(Condition.JOB_FAILED, "JOB_FAILED", ("finder", name), subject, words_of(error))


def is_sweeper_silent() -> bool:
    """Whether no periodic job has started for long: every running sweeper starts some."""
    return any(find_silent_sweeper())


# --- sagas ----------------------------------------------------------------------------------------

# The failure that each is at; one that has ended is at none. Ordered by time, which no index offers: by id
# PostgreSQL might read all attempts.
_FOR_A_PERSON = """
    SELECT saga.definition, saga.suspend_reason, saga.attention, coalesce(last.step, ''), coalesce(last.side, ''),
           coalesce(last.fingerprint, ''), coalesce(last.message, ''), saga.id, saga.business_key
    FROM (SELECT * FROM sagas_sagainstance
          WHERE (attention <> '' OR status = 'SUSPENDED') AND suspend_reason <> 'OPERATOR_PAUSE'
          ORDER BY id DESC LIMIT %s) saga
    LEFT JOIN LATERAL (
        SELECT step, side, fingerprint, message FROM sagas_stepattempt attempt
        WHERE attempt.saga_id = saga.id AND attempt.fingerprint <> '' ORDER BY attempt.started_at DESC LIMIT 1
    ) last ON saga.ended_at IS NULL
"""
_CONDITION_OF = {
    "COMPENSATION_FAILED": Condition.COMPENSATION_FAILED,
    "OUTCOME_UNKNOWN": Condition.OUTCOME_UNKNOWN,
}


def find_sagas_for_a_person() -> Iterator[Finding]:
    groups: dict[tuple[str, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for row in _rows(_FOR_A_PERSON, [MOST]):
        definition, reason, attention, step, side, fingerprint, *_ = row
        kind = fingerprint if reason else _kind(attention)
        groups[definition, reason or "ATTENTION", step, side, kind].append(row)
    for same, rows in groups.items():
        definition, code, step, side, _ = same
        _, _, attention, _, _, _, error, saga, _ = rows[-1]
        yield Finding(
            _CONDITION_OF.get(code, Condition.STUCK),
            code,
            same,
            _subject(definition, [row[-1] for row in reversed(rows)], f"{side} of {step}" if step else ""),
            " ".join(dict.fromkeys(filter(None, [attention, error]))),
            len(rows),
            saga,
        )
    _all_seen(groups)


_UNKNOWN = f"""
    SELECT saga.definition, step.name, step.error, saga.id, saga.business_key
    FROM sagas_sagainstance saga JOIN sagas_sagastep step ON step.saga_id = saga.id
    CROSS JOIN LATERAL (SELECT max(event.at) AS at FROM sagas_sagaevent event WHERE event.saga_id = saga.id
        AND event.step = step.name AND event.what = 'action' AND event.after = 'UNKNOWN') AS since
    WHERE saga.status IN ({", ".join(f"'{status}'" for status in sorted(LIVE))})
      AND saga.status NOT IN ('PENDING', 'SUSPENDED')
      AND step.action = 'UNKNOWN' AND step.compensation NOT IN ('SUCCEEDED', 'WAIVED')
      AND since.at < statement_timestamp() - %s
    ORDER BY saga.id LIMIT %s
"""  # noqa: S608 - made of constants


def find_outcomes_unknown_too_long() -> Iterator[Finding]:
    """Those that are still asked about; when that is given up the saga is suspended."""
    groups: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    patience = minutes(settings.SAGAS_ALERT_UNKNOWN_MINUTES)
    for row in _rows(_UNKNOWN, [patience, MOST]):
        groups[row[0], row[1]].append(row)
    for (definition, step), rows in groups.items():
        _, _, error, saga, _ = rows[0]
        since = f"for more than {settings.SAGAS_ALERT_UNKNOWN_MINUTES} minutes"
        yield Finding(
            Condition.OUTCOME_UNKNOWN,
            "OUTCOME_UNKNOWN",
            (definition, step, "asking"),
            _subject(definition, [row[-1] for row in rows], step),
            f"Nobody has known {since} whether it happened. {error}",
            len(rows),
            saga,
        )
    _all_seen(groups)


# --- locks ----------------------------------------------------------------------------------------

# Who waits for a parcel or a person within a limit of its plan holds its lock as long as that says. These are passed
# over before the rows are counted; one by one, or PostgreSQL might read all sagas for the holders.
_LOCKS = """
    SELECT lock.resource_type, lock.resource_id, saga.id, saga.definition, saga.business_key
    FROM sagas_semanticlock lock
    CROSS JOIN LATERAL (SELECT * FROM sagas_sagainstance WHERE id = lock.saga_id LIMIT 1) saga
    WHERE lock.taken_at < statement_timestamp() - %s
      AND NOT coalesce(saga.status = 'WAITING' AND saga.waiting_on ->> 'kind' IN ('signal', 'human', 'timer')
                       AND (saga.waiting_on ->> 'until')::timestamptz > statement_timestamp(), false)
    ORDER BY lock.taken_at LIMIT %s
"""


def find_old_locks() -> Iterator[Finding]:
    groups: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for row in _rows(_LOCKS, [timedelta(hours=settings.SAGAS_ALERT_LOCK_HOURS), MOST]):
        groups[row[0], row[3]].append(row)
    for (kind, definition), rows in groups.items():
        yield Finding(
            Condition.LOCK_TOO_OLD,
            "LOCK_TOO_OLD",
            (kind, definition),
            _subject(kind, [row[1] for row in rows], f"held by {definition}"),
            f"Held for more than {settings.SAGAS_ALERT_LOCK_HOURS} hours, the oldest by {definition} {rows[0][4]}.",
            len(rows),
            rows[0][2],
        )
    _all_seen(groups)


# --- who looks after them -------------------------------------------------------------------------

_VIOLATIONS = """
    SELECT found ->> 'rule', found ->> 'subject', found ->> 'found', found ->> 'expected', found ->> 'saga'
    FROM sagas_periodicjob job CROSS JOIN LATERAL jsonb_array_elements(
        CASE WHEN jsonb_typeof(job.last_result -> 'violations') = 'array' THEN job.last_result -> 'violations' END
    ) AS found
"""


def find_violations() -> Iterator[Finding]:
    """By rule, as the last audits found them."""
    rules: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for rule, *rest in _rows(_VIOLATIONS):
        # That workers are silent has a name of its own.
        if rule != DUE_SAGAS_ARE_TAKEN_UP.sentence:
            rules[rule].append(tuple(rest))
    for rule, rows in rules.items():
        subject, found, expected, saga = rows[0]
        yield Finding(
            Condition.AUDIT_VIOLATION,
            "AUDIT_VIOLATION",
            (rule,),
            _cut(rule),
            f"{subject}: found {found}, expected {expected}.",
            len(rows),
            UUID(saga) if saga else None,
        )


_FAILED_JOBS = "SELECT name, last_error FROM sagas_periodicjob WHERE last_error NOT IN ('', %s)"


def find_failed_jobs() -> Iterator[Finding]:
    """By their last runs, whether or not the next one is at it. That one died, as in a deploy, is nothing yet."""
    for name, error in _rows(_FAILED_JOBS, [DIED]):
        yield Finding(Condition.JOB_FAILED, "JOB_FAILED", (name,), _cut(name), error)


_SILENT_SWEEPER = """
    SELECT to_char(last, 'YYYY-MM-DD HH24:MI:SS') FROM (SELECT max(last_started_at) AS last FROM sagas_periodicjob) jobs
    WHERE last < statement_timestamp() - %s
"""
_SILENT_WORKERS = """
    SELECT count(*), to_char(min(wake_at), 'YYYY-MM-DD HH24:MI:SS') FROM sagas_sagainstance
    WHERE wake_at < statement_timestamp() - %s HAVING count(*) > 0
"""


def find_silent_sweeper() -> Iterator[Finding]:
    for (last,) in _rows(_SILENT_SWEEPER, [SWEEPER_PATIENCE]):
        message = f"The last periodic job was started at {last} UTC."
        yield Finding(Condition.SWEEPER_SILENT, "SWEEPER_SILENT", (), "no sweeper runs", message)


def find_silent_workers() -> Iterator[Finding]:
    for count, since in _rows(_SILENT_WORKERS, [WORKERS_PATIENCE]):
        message = f"The first of them has been due since {since} UTC."
        yield Finding(Condition.WORKERS_SILENT, "WORKERS_SILENT", (), "due sagas are not taken up", message, count)


# Each with what it may find.
FINDERS: dict[Callable[[], Iterable[Finding]], set[Condition]] = {
    find_sagas_for_a_person: {Condition.STUCK, Condition.COMPENSATION_FAILED, Condition.OUTCOME_UNKNOWN},
    find_outcomes_unknown_too_long: {Condition.OUTCOME_UNKNOWN},
    find_old_locks: {Condition.LOCK_TOO_OLD},
    find_violations: {Condition.AUDIT_VIOLATION},
    find_failed_jobs: {Condition.JOB_FAILED},
    find_silent_sweeper: {Condition.SWEEPER_SILENT},
    find_silent_workers: {Condition.WORKERS_SILENT},
}


def _all_seen(groups: dict[Any, list[Any]]) -> None:
    if sum(map(len, groups.values())) >= MOST:
        raise MoreThanLookedAt


def _kind(words: str) -> str:
    """The same for attention of one kind: without the words that name a number, a time or an id."""
    return re.sub(r"\S*\d\S*", "#", words)


def _subject(what: str, keys: list[str], where: str) -> str:
    named = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
    return _cut(f"{what} {named}" + (f": {where}" if where else ""))


def _cut(words: str) -> str:
    return words if len(words) <= MAX_SUBJECT else f"{words[: MAX_SUBJECT - 1]}…"


def _rows(sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
