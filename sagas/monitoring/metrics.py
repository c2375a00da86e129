"""The engine's metrics, read from the database: right across processes, restarts and the purge.

Counters in the memory of a worker would be lost with it. `METRICS` lists all that is exported; the
collector asks a few statements in one snapshot, each through an index.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

from django.db import connection
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from sagas.audit import one_snapshot
from sagas.definition import registry
from sagas.monitoring import tally
from sagas.monitoring.models import Condition
from sagas.monitoring.tally import BOUNDS, Sum
from sagas.outcomes import OutcomeKind
from sagas.states import LIVE, TERMINAL, SagaStatus, Side, SuspendReason
from sagas.steps import seconds

# A scrape that cannot be answered by then fails, which Prometheus notices; it never says half of it.
LIMIT = seconds(5)


@dataclass(frozen=True, slots=True)
class Described:
    """One metric: a counter is exported with ``_total`` behind its name, a histogram as three series."""

    kind: type[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]
    help: str
    labels: tuple[str, ...] = ()


_COUNTER, _GAUGE, _HISTOGRAM = CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
_STEP = ("definition", "step", "side")

METRICS = {
    "saga_started": Described(_COUNTER, "Sagas that were started.", ("definition",)),
    "saga_success": Described(_COUNTER, "Sagas that ended COMPLETED.", ("definition",)),
    "saga_failures": Described(_COUNTER, "Sagas that ended COMPENSATED or ABANDONED.", ("definition", "outcome")),
    "saga_duration_seconds": Described(_HISTOGRAM, "From start to end of a saga.", ("definition", "outcome")),
    "saga_step_duration_seconds": Described(_HISTOGRAM, "Each attempt, from its start to its end.", _STEP),
    "saga_step_failures": Described(_COUNTER, "Attempts that ended other than DONE.", (*_STEP, "outcome")),
    "compensation_success": Described(_COUNTER, "Compensations that are DONE.", ("definition", "step")),
    "compensation_failures": Described(
        _COUNTER, "Attempts of compensations that ended other than DONE.", ("definition", "step", "outcome")
    ),
    "saga_live": Described(_GAUGE, "Sagas that have not ended.", ("definition", "status")),
    "saga_suspended": Described(_GAUGE, "Sagas that wait for a person or a deploy.", ("reason",)),
    "saga_attention": Described(_GAUGE, "Sagas that a person has to look at: suspended, or raising attention."),
    "saga_due": Described(_GAUGE, "Sagas that could go on now and that nobody has taken up yet."),
    "saga_oldest_due_seconds": Described(_GAUGE, "How long the first of them has been due."),
    "saga_outcome_unknown": Described(_GAUGE, "Steps of live sagas of which nobody knows whether they happened."),
    "saga_outcome_unknown_oldest_seconds": Described(_GAUGE, "How long that has been so for the first of them."),
    "saga_locks_held": Described(_GAUGE, "Semantic locks that sagas hold."),
    "saga_lock_oldest_seconds": Described(_GAUGE, "How long the first of them has been held."),
    "saga_sweeper_last_run_timestamp_seconds": Described(_GAUGE, "When a sweeper last started a periodic job."),
    "saga_periodic_last_success_timestamp_seconds": Described(_GAUGE, "When a run last ended well.", ("job",)),
    "saga_alerts": Described(_GAUGE, "Alerts that are open.", ("condition",)),
    "saga_audit_violations": Described(_GAUGE, "What the last run of an auditor found wrong.", ("job",)),
}

_LIVE = ", ".join(f"'{status}'" for status in sorted(LIVE))
_BY_STATUS = f"SELECT definition, status, count(*) FROM sagas_sagainstance WHERE status IN ({_LIVE}) GROUP BY 1, 2"  # noqa: S608
_BY_REASON = "SELECT suspend_reason, count(*) FROM sagas_sagainstance WHERE status = 'SUSPENDED' GROUP BY 1"
_ATTENTION = "SELECT count(*) FROM sagas_sagainstance WHERE attention <> '' OR status = 'SUSPENDED'"
_DUE = """
    SELECT count(*), coalesce(extract(epoch FROM statement_timestamp() - min(wake_at)), 0)
    FROM sagas_sagainstance WHERE wake_at <= statement_timestamp()
"""
# When it became unknown: it stays so while it is asked again, and has an event for its beginning.
_UNKNOWN = f"""
    SELECT count(*), coalesce(extract(epoch FROM statement_timestamp() - min(since.at)), 0)
    FROM sagas_sagainstance saga JOIN sagas_sagastep step ON step.saga_id = saga.id
    CROSS JOIN LATERAL (SELECT max(event.at) AS at FROM sagas_sagaevent event WHERE event.saga_id = saga.id
        AND event.step = step.name AND event.what = 'action' AND event.after = 'UNKNOWN') AS since
    WHERE saga.status IN ({_LIVE}) AND saga.status <> 'PENDING'
      AND step.action = 'UNKNOWN' AND step.compensation NOT IN ('SUCCEEDED', 'WAIVED')
"""  # noqa: S608
_LOCKS = """
    SELECT count(*), coalesce(extract(epoch FROM statement_timestamp() - min(taken_at)), 0) FROM sagas_semanticlock
"""
_ALERTS = "SELECT condition, count(*) FROM sagas_alert WHERE resolved_at IS NULL GROUP BY 1"
_JOBS = """
    SELECT name, extract(epoch FROM last_started_at),
           CASE WHEN last_error = '' THEN extract(epoch FROM last_ended_at) END,
           jsonb_array_length(CASE WHEN jsonb_typeof(last_result) = 'object' THEN last_result -> 'violations' END)
    FROM sagas_periodicjob
"""


class SagaCollector(Collector):
    """Reads the database at each scrape. Call it outside of any transaction."""

    def collect(self) -> Iterator[Metric]:
        with one_snapshot(LIMIT):
            live, ended = _rows(_BY_STATUS), [*_zeros(), *tally.sums()]
            found = [*_of_ends(ended), _started(ended, live), *_of_live(live), *_of_jobs()]
        yield from found

    def describe(self) -> Iterable[Metric]:
        """What it exports, without asking the database."""
        return [family(name) for name in METRICS]


def family(name: str) -> Any:
    described = METRICS[name]
    return described.kind(name, described.help, labels=described.labels)


def _zeros() -> Iterator[Sum]:
    """What can happen is there before it does: of a counter that appears with its first event no rise is seen."""
    for plan in registry.values():
        for status in TERMINAL:
            yield Sum(plan.name, "", "", status, inf, 0, 0.0)
        for step in plan.steps:
            if step.function(Side.COMPENSATION):
                yield Sum(plan.name, step.name, Side.COMPENSATION, OutcomeKind.DONE, inf, 0, 0.0)


def _of_ends(found: list[Sum]) -> list[Metric]:
    """The counters and the times: sagas that ended, and attempts."""
    sagas, tries = [s for s in found if not s.step], [s for s in found if s.step]
    failed = [s for s in tries if s.outcome != OutcomeKind.DONE]
    undoing = [s for s in tries if s.side == Side.COMPENSATION]
    return [
        _counter("saga_success", (s for s in sagas if s.outcome == SagaStatus.COMPLETED)),
        _counter("saga_failures", (s for s in sagas if s.outcome != SagaStatus.COMPLETED)),
        _histogram("saga_duration_seconds", sagas),
        _histogram("saga_step_duration_seconds", tries),
        _counter("saga_step_failures", failed),
        _counter("compensation_success", (s for s in undoing if s.outcome == OutcomeKind.DONE)),
        _counter("compensation_failures", (s for s in failed if s.side == Side.COMPENSATION)),
    ]


def _started(found: list[Sum], live: list[tuple[Any, ...]]) -> Metric:
    """Those that ended and those that have not: in one snapshot that is every saga that ever was."""
    counts: dict[str, int] = defaultdict(int)
    for one in found:
        counts[one.definition] += 0 if one.step else one.count
    for definition, _, count in live:
        counts[definition] += count
    metric = family("saga_started")
    for definition, count in sorted(counts.items()):
        metric.add_metric([definition], count)
    return metric  # type: ignore[no-any-return]


def _counter(name: str, found: Iterable[Sum]) -> Metric:
    metric, counts = family(name), defaultdict[tuple[str, ...], int](int)
    for one in found:
        counts[_labels(name, one)] += one.count
    for labels, count in sorted(counts.items()):
        metric.add_metric(labels, count)
    return metric  # type: ignore[no-any-return]


def _histogram(name: str, found: Iterable[Sum]) -> Metric:
    metric, groups = family(name), defaultdict[tuple[str, ...], list[Sum]](list)
    for one in filter(lambda one: one.count, found):
        groups[_labels(name, one)].append(one)
    for labels, group in sorted(groups.items()):
        buckets = [(_bound(bound), sum(one.count for one in group if one.at_most <= bound)) for bound in BOUNDS]
        metric.add_metric(labels, buckets, sum(one.seconds for one in group))
    return metric  # type: ignore[no-any-return]


def _bound(bound: float) -> str:
    return "+Inf" if bound == BOUNDS[-1] else f"{bound:g}"


def _labels(name: str, one: Sum) -> tuple[str, ...]:
    return tuple(one.outcome.lower() if label == "outcome" else getattr(one, label) for label in METRICS[name].labels)


def _of_live(live: list[tuple[Any, ...]]) -> list[Metric]:
    ((due, oldest_due),) = _rows(_DUE)
    ((unknown, oldest_unknown),) = _rows(_UNKNOWN)
    ((locks, oldest_lock),) = _rows(_LOCKS)
    ((attention,),) = _rows(_ATTENTION)
    reasons, alerts = dict(_rows(_BY_REASON)), dict(_rows(_ALERTS))
    values = {
        "saga_due": due,
        "saga_oldest_due_seconds": oldest_due,
        "saga_outcome_unknown": unknown,
        "saga_outcome_unknown_oldest_seconds": oldest_unknown,
        "saga_locks_held": locks,
        "saga_lock_oldest_seconds": oldest_lock,
        "saga_attention": attention,
    }
    metrics = {name: family(name) for name in ("saga_live", "saga_suspended", "saga_alerts", *values)}
    for definition, status, count in sorted(live):
        metrics["saga_live"].add_metric([definition, status.lower()], count)
    for reason in SuspendReason:
        metrics["saga_suspended"].add_metric([reason.lower()], reasons.get(reason, 0))
    for condition in Condition:
        metrics["saga_alerts"].add_metric([condition.lower()], alerts.get(condition, 0))
    for name, value in values.items():
        metrics[name].add_metric([], float(value))
    return list(metrics.values())


def _of_jobs() -> list[Metric]:
    jobs = sorted(_rows(_JOBS))
    last_run, ended, violations = (
        family(name)
        for name in (
            "saga_sweeper_last_run_timestamp_seconds",
            "saga_periodic_last_success_timestamp_seconds",
            "saga_audit_violations",
        )
    )
    if jobs:
        last_run.add_metric([], float(max(started for _, started, _, _ in jobs)))
    for name, _, ended_at, wrong in jobs:
        if ended_at is not None:
            ended.add_metric([name], float(ended_at))
        if wrong is not None:
            violations.add_metric([name], wrong)
    return [last_run, ended, violations]


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
