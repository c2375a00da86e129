"""Each contender of `make bench` does the work right, at a tiny size. Nothing is timed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import servers
from benchmarks.__main__ import main
from tests.servers import ENVIRONMENT

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("variant", ["core", "declined"])
def test_every_contender_ends_every_order_as_it_should(variant: str, tmp_path: Path) -> None:
    """The harness compares orders, payments, shipments and stock after each round, and raises if one is wrong."""
    env = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks"],
        cwd=ROOT,
        env={**env, "ONLY": variant, "ROUNDS": "1", "SAGAS": "20", "SLOW": "0", "RESULTS": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,  # a busy machine: it took 117 s on one with five times the work it has cores for
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    rows = [line.split("|")[1].strip() for line in ran.stdout.splitlines() if line.startswith("| ")]
    assert rows == ["contender", "pgbench", "psycopg loop", "Django loop", "this engine"]


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("CONTENDERS", "django ours", "CONTENDERS has to be some of pgbench,psycopg,django,ours,restate"),
        ("ONLY", "declined,nosuch", "ONLY has to be some of core,declined, not 'nosuch'."),
        ("ROUNDS", "0", "ROUNDS has to be a whole number from 1 on, not '0'."),
        ("SAGAS", "many", "SAGAS has to be a whole number from 1 on, not 'many'."),
        ("SLOW", "-1", "SLOW has to be a whole number from 0 on, not '-1'."),
    ],
)
def test_a_wrong_size_is_named_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str, said: str
) -> None:
    def start() -> None:
        raise AssertionError("a server was started")

    monkeypatch.setenv(name, given)
    monkeypatch.setattr(servers, "running", start)

    with pytest.raises(SystemExit, match=re.escape(said)):
        main()
