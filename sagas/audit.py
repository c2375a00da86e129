"""The auditor: rules that always hold, as SQL, read in one snapshot. It reports and repairs nothing.

The engine's own rules are in `invariants`; each app adds what it promises with `@auditor`. A rule is
written so that it also holds while sagas move: it looks at what one commit leaves behind, or leaves
out whoever is on the way.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from time import monotonic
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.urls import NoReverseMatch, reverse

from sagas.models import PeriodicJob
from sagas.periodic import periodic
from sagas.states import LIVE
from sagas.steps import minutes, seconds

logger = logging.getLogger(__name__)

# Of one rule no more are listed: whoever reads them mends the cause first.
MOST = 100
# A saga that ended this long before the last audit was seen by it: its commit did not take longer.
OVERLAP = minutes(1)
FIRST_LOOK_BACK = timedelta(hours=1)
# How long one query of a full audit may take; the connection's own limit is made for short ones.
PATIENCE = minutes(10)


class Verdict(StrEnum):
    """What it means that rows break a rule."""

    WRONG = "wrong"
    # Nothing went wrong, but somebody should know of it.
    ORPHAN = "orphan"
    # It could not be looked at, so that nobody knows.
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold: which, for what, and the two values that disagree."""

    rule: str
    subject: str
    found: str
    expected: str
    saga: UUID | None = None
    verdict: Verdict = Verdict.WRONG

    @property
    def link(self) -> str:
        """The page of its saga in the admin; empty where there is none."""
        try:
            return reverse("admin:sagas_sagainstance_change", args=[self.saga]) if self.saga else ""
        except NoReverseMatch:
            return ""

    def __str__(self) -> str:
        return f"{self.rule} {self.subject}: found {self.found}, expected {self.expected}."


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked at: all live sagas, those that ended since ``since`` (None: all), and ``sagas``."""

    since: datetime | None = None
    sagas: tuple[UUID, ...] = ()

    @property
    def everything(self) -> bool:
        return self.since is None


@dataclass(frozen=True, slots=True)
class Rule:
    """A sentence that is true, and the query for the rows where it is not.

    The query returns saga (or null), subject, found and expected. It starts from ``scope``, the sagas to look at.
    """

    sentence: str
    sql: str
    verdict: Verdict = Verdict.WRONG


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found at one moment, the database's ``at``."""

    at: datetime
    since: datetime | None
    seconds: float
    violations: tuple[Violation, ...]
    orphans: tuple[Violation, ...] = field(default=())
    unseen: tuple[Violation, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "since": self.since.isoformat() if self.since else None,
            "seconds": round(self.seconds, 3),
            "violations": [_violation_json(violation) for violation in self.violations],
            "orphans": [_violation_json(violation) for violation in self.orphans],
            "unseen": [_violation_json(violation) for violation in self.unseen],
        }


def _violation_json(violation: Violation) -> dict[str, Any]:
    values = {**asdict(violation), "saga": str(violation.saga) if violation.saga else None, "link": violation.link}
    del values["verdict"]
    return values


Auditor = Callable[[Scope], Iterable[Violation]]


@dataclass(frozen=True, slots=True)
class _Registered:
    area: str
    function: Auditor
    everything_only: bool


registry: list[_Registered] = []


def auditor(area: str, *, everything_only: bool = False) -> Callable[[Auditor], Auditor]:
    """Have the decorated function called in every audit's snapshot; it returns what it finds wrong.

    ``everything_only`` keeps it out of the audit of every minute: for what has to read whole tables.
    """

    def register(function: Auditor) -> Auditor:
        registered = _Registered(area, function, everything_only)
        if registered not in registry:
            registry.append(registered)
        return function

    return register


# --- one audit ------------------------------------------------------------------------------------

_LIVE = ", ".join(f"'{status}'" for status in sorted(LIVE))
_COLUMNS = """
    id, definition, definition_version, business_key, status, suspend_reason, backward, pivot_passed, generation,
    wake_at, waiting_on
"""

# Three parts, each with an index of its own. A saga is in one of them.
SCOPE = f"""
    WITH scope AS (
        SELECT {_COLUMNS} FROM sagas_sagainstance WHERE status IN ({_LIVE})
        UNION ALL
        SELECT {_COLUMNS} FROM sagas_sagainstance WHERE ended_at >= %(since)s AND status NOT IN ({_LIVE})
        UNION ALL
        SELECT {_COLUMNS} FROM sagas_sagainstance
        WHERE id = ANY(%(sagas)s::uuid[]) AND ended_at < %(since)s AND status NOT IN ({_LIVE})
    )
"""  # noqa: S608 - made of constants


def broken(rules: Iterable[Rule], scope: Scope, **parameters: Any) -> Iterator[Violation]:
    """The rows that break ``rules``, at most `MOST` of each. Give JSON parameters as Python values."""
    values = {name: json.dumps(value) for name, value in parameters.items()} | {
        "since": scope.since or "-infinity",
        "sagas": list(scope.sagas),
        "everything": scope.everything,
    }
    with connection.cursor() as cursor:
        for rule in rules:
            cursor.execute(f"{SCOPE} {rule.sql} LIMIT {MOST}", values)
            for saga, subject, found, expected in cursor.fetchall():
                yield Violation(rule.sentence, subject, _word(found), _word(expected), saga, rule.verdict)


def _word(value: Any) -> str:
    return "nothing" if value is None or value == "" else str(value)


@contextmanager
def one_snapshot(statement_limit: timedelta) -> Iterator[datetime]:
    """Everything inside reads the database as it was at one moment, and writes nothing."""
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(f"SET LOCAL statement_timeout = '{statement_limit.total_seconds():.0f}s'")
        cursor.execute("SELECT statement_timestamp()")
        yield cursor.fetchone()[0]


def audit(scope: Scope | None = None, *, statement_limit: timedelta = PATIENCE) -> Report:
    """Check every rule in one snapshot; without a scope for everything there is.

    Opens the transaction itself, so call it outside of any. Raises where a query itself fails: what
    could not be checked is not reported as fine.
    """
    scope = scope or Scope()
    started = monotonic()
    with one_snapshot(statement_limit) as at:
        found = list(dict.fromkeys(check(scope)))
    return Report(
        at=at,
        since=scope.since,
        seconds=monotonic() - started,
        violations=tuple(violation for violation in found if violation.verdict is Verdict.WRONG),
        orphans=tuple(violation for violation in found if violation.verdict is Verdict.ORPHAN),
        unseen=tuple(violation for violation in found if violation.verdict is Verdict.UNSEEN),
    )


def check(scope: Scope) -> Iterator[Violation]:
    """What every auditor finds, in the caller's transaction."""
    for registered in registry:
        if scope.everything or not registered.everything_only:
            yield from registered.function(scope)


# --- the audits that run by themselves ------------------------------------------------------------


@periodic(every=seconds(60), limit=minutes(5))
def audit_lately() -> dict[str, Any]:
    """What is live, what ended since the last audit, and what was wrong then, until it no longer is."""
    return _reported(audit(scope_of_next(), statement_limit=minutes(1)))


@periodic(every=timedelta(days=1), limit=timedelta(hours=1))
def audit_everything() -> dict[str, Any]:
    return _reported(audit())


def scope_of_next() -> Scope:
    """Where the last audit that ended well left off, so that no end is missed, however long nobody audited."""
    job = PeriodicJob.objects.filter(name=f"{__name__}.{audit_lately.__name__}").first()
    if job is None or not job.last_result:
        with connection.cursor() as cursor:
            cursor.execute("SELECT statement_timestamp()")
            return Scope(cursor.fetchone()[0] - FIRST_LOOK_BACK)
    named = {violation["saga"] for violation in job.last_result["violations"]} - {None}
    since = datetime.fromisoformat(job.last_result["at"]) - OVERLAP
    return Scope(since, tuple(sorted(map(UUID, named))))


def _reported(report: Report) -> dict[str, Any]:
    if report.violations:
        logger.error("the audit found %d violations, the first: %s", len(report.violations), report.violations[0])
    return report.to_json()
