"""docs/operating.md names what there is."""

import re
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.management import get_commands

from sagas.operations import PERMISSIONS
from sagas.periodic import registry

TEXT = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
UNITS = {"s": "seconds", "min": "minutes", "h": "hours"}


def test_the_periodic_jobs_are_those_that_are_registered():
    rows = re.findall(r"^\| `([\w.]+)` \| (\d+) (s|min|h) \|", TEXT, re.M)

    documented = {name: timedelta(**{UNITS[unit]: int(count)}) for name, count, unit in rows}
    assert documented == {job.name: job.every for job in registry if not job.name.startswith("tests.")}


def test_every_command_that_is_named_exists():
    named = set(re.findall(r"manage\.py (\w+)", TEXT))

    assert {"audit", "sagas", "saga_worker", "saga_sweeper", "reconcile_payments"} <= named
    assert named <= set(get_commands())


def test_every_setting_that_is_named_exists_with_its_default():
    named = re.findall(r"`(SAGAS_\w+)`(?: \((\d+)\))?", TEXT)

    assert {name for name, _ in named} == {"SAGAS_CALLS_IN_FLIGHT", "SAGAS_KEEP_DAYS", "SAGAS_KEEP_TOUCHED_DAYS"}
    for name, default in named:
        assert not default or getattr(settings, name) == int(default)


def test_every_operation_is_documented_with_its_permission():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", TEXT, re.M)

    assert dict(rows) == {name: permission.partition(".")[2] for name, permission in PERMISSIONS.items()}
