"""The transfer as one transaction and as a saga does the same work, and a death leaves behind what is said of it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.servers import ENVIRONMENT

ROOT = Path(__file__).parents[2]
SMALL = ("--transfers=20", "--rounds=1", "--accounts=2", "--distance=1", "--nobody-acts-for=0.1")


def test_both_move_the_money_and_only_the_saga_survives_who_drives_it() -> None:
    """After each round the harness compares what left with what arrived, and raises if they differ."""
    env = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.two_phase_commit", *SMALL, "--deaths", "half committed", "debit"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    rates, _, (_, _, two_phase, saga) = (part.splitlines() for part in ran.stdout.partition("\n\n"))
    assert rates[-1].startswith("| 2 | 1 ms |")
    assert two_phase == (
        "| two-phase, half committed | transactions in doubt: 1, rows locked there, 1000 cents left and 0 arrived "
        "| after 0.1 s: transactions in doubt: 1, rows locked there, 1000 cents left and 0 arrived "
        "| COMMIT PREPARED by hand: transactions in doubt: 0, rows locked nowhere, 1000 cents left and 1000 arrived |"
    )
    assert saga.startswith("| saga, in its debit | rows free after")
    assert saga.endswith("transactions in doubt: 0, rows locked nowhere, 1000 cents left and 1000 arrived |")
