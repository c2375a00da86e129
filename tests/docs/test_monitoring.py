"""docs/monitoring.md, the rules and the dashboard name the metrics that are exported."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from config.metrics import METRICS as OF_REDIS
from sagas.monitoring.messages import signature_of
from sagas.monitoring.metrics import METRICS as OF_SAGAS
from sagas.monitoring.models import Condition

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "monitoring.md").read_text()
KINDS = {"CounterMetricFamily": "counter", "GaugeMetricFamily": "gauge", "HistogramMetricFamily": "histogram"}
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def exported() -> dict[str, tuple[str, tuple[str, ...]]]:
    of_sagas = {name: (KINDS[one.kind.__name__], one.labels) for name, one in OF_SAGAS.items()}
    return of_sagas | {name: ("gauge", labels) for name, (_, labels) in OF_REDIS.items()}


def series() -> set[str]:
    return {f"{name}{suffix}" for name, (kind, _) in exported().items() for suffix in SUFFIXES[kind]}


def asked_for(expression: str) -> set[str]:
    """The series that an expression names."""
    bare = re.sub(r'"[^"]*"|\[\w+\]|\bby \([^)]*\)', "", expression)
    return set(re.findall(r"\b(?:saga|compensation|circuit|redis)_\w+", bare))


def test_the_table_is_what_is_exported():
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) \|", TEXT, re.M)

    documented = {
        name.removesuffix("_total") if kind == "counter" else name: (kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in rows
    }
    assert documented == exported()


def expressions_of(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (inner for key, inner in value.items() if key in ("expr", "query") and isinstance(inner, str))
        yield from (found for inner in value.values() for found in expressions_of(inner))
    elif isinstance(value, list):
        yield from (found for inner in value for found in expressions_of(inner))


def test_the_dashboard_asks_for_nothing_else():
    dashboard = json.loads((DOCS / "monitoring" / "grafana.json").read_text())
    expressions = list(expressions_of(dashboard))

    assert sum(bool(asked_for(expression)) for expression in expressions) >= len(dashboard["panels"]) >= 15
    assert {name for expression in expressions for name in asked_for(expression)} - series() == set()


def test_the_rules_ask_for_nothing_else():
    text = (DOCS / "monitoring" / "alerts.yml").read_text()
    rules = re.findall(r"- alert: (\w+)\n\s+expr: (\|.*?|.*?)\n\s+(?:for|labels):", text, re.S)

    assert len(rules) == text.count("- alert:") >= 10
    assert {name for _, expression in rules for name in asked_for(expression)} - series() == set()
    assert all(asked_for(expression) for _, expression in rules)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ('sum by (step) (rate(saga_no_such_total{outcome="saga_x"}[5m]))', {"saga_no_such_total"}),
        ("redis_up == 0 or absent(saga_attention)", {"redis_up", "saga_attention"}),
    ],
)
def test_what_an_expression_asks_for_is_found(expression: str, found: set[str]):
    assert asked_for(expression) == found


def test_every_condition_is_documented():
    rows = re.findall(r"^\| `([A-Z_]+)` \| ", TEXT, re.M)

    assert rows == list(Condition)


def test_every_setting_that_is_named_exists_with_its_default():
    named = re.findall(r"`((?:SAGAS|METRICS)_[A-Z_]+)`(?: \((\d+)\))?", TEXT)

    assert len(named) == 6
    for name, default in named:
        assert hasattr(settings, name)
        assert not default or getattr(settings, name) == int(default)


def test_the_receiver_in_the_docs_knows_our_signature(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settings, "SAGAS_ALERT_WEBHOOK_SECRET", "secret")
    code: dict[str, Any] = {}
    exec(TEXT.partition("```python\n")[2].partition("```")[0], code)
    header = signature_of(b"{}", int(time.time()))

    assert code["is_ours"](header, b"{}", "secret")
    assert not code["is_ours"](header, b"{ }", "secret")
    assert not code["is_ours"](header, b"{}", "other")
    assert not code["is_ours"](signature_of(b"{}", int(time.time()) - 301), b"{}", "secret")
