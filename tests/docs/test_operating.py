"""docs/operating.md names what there is."""

import re
import shlex
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.management import get_commands, load_command_class

from sagas.operations import PERMISSIONS
from sagas.periodic import registry
from sagas.roles import Role, permissions_of

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
    named = re.findall(r"`(SAGAS_\w+)`(?: \((\d+)[\w ]*\))?", TEXT)

    assert {name for name, _ in named} == {
        "SAGAS_CALLS_IN_FLIGHT",
        "SAGAS_KEEP_DAYS",
        "SAGAS_KEEP_TOUCHED_DAYS",
        "SAGAS_TWO_PEOPLE_ABOVE",
    }
    for name, default in named:
        assert not default or getattr(settings, name) == int(default)


def test_every_operation_is_documented_with_its_permission():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", TEXT, re.M)

    assert dict(rows) == {name: permission.partition(".")[2] for name, permission in PERMISSIONS.items()}


def test_every_line_for_the_terminal_is_one_that_the_command_takes():
    lines = re.findall(r"^manage\.py sagas (.+)$", TEXT, re.M)
    parser = load_command_class("sagas", "sagas").create_parser("manage.py", "sagas")

    commands = {parser.parse_args(shlex.split(line)).command for line in lines}

    assert commands >= {"list", "show", "preview", "ask", "bulk", *PERMISSIONS}


def test_each_role_is_documented_with_what_it_may():
    rows = dict(re.findall(r"^\| (Saga \w+) \| (.+) \|$", TEXT, re.M))
    before: set[str] = set()
    for role in Role:
        may = {name for name, permission in PERMISSIONS.items() if permission in permissions_of(role)}
        documented = {name for name in PERMISSIONS if re.search(rf"\b{name}\b", rows[role])}
        assert documented == may - before
        before |= may
