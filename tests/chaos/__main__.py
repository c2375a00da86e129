"""``python -m tests.chaos --seconds 60 --seed 1``. Exits with 1 when something was wrong."""

import argparse
import secrets
import sys
from pathlib import Path

from tests.chaos.run import Options, Result, chaos


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long faults last")
    parser.add_argument("--seed", type=int, help="what is broken in which order; random when left out")
    parser.add_argument("--orders-per-second", type=float, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--report", type=Path, help="where the JSON report goes")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    result = chaos(Options(given.seconds, seed, given.orders_per_second, given.workers, given.report))
    sys.stdout.write(summary(result))
    return 0 if result.passed else 1


def summary(result: Result) -> str:
    lines = ["", f"seed {result.options.seed}, {result.options.seconds:g} s"]
    lines += [
        f"  {kind:32} {count['took effect']:5} (tried {count['tried']})"
        for kind, count in result.tally.to_json().items()
    ]
    for told in (dict(result.tally.extra), result.clients, result.numbers):
        lines += [f"  {name:44} {value}" for name, value in told.items()]
    lines.append(f"  {'seconds to rest after healing':44} {result.seconds_to_rest}")
    lines += [
        f"  suspended: {row['business_key']} {row['suspend_reason']}: {row['attention']}" for row in result.suspended
    ]
    lines += [f"  VIOLATION {violation}" for violation in result.violations[:60]]
    lines.append("Nothing is wrong." if result.passed else f"{len(result.violations)} violations.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
