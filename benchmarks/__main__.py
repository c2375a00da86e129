"""`python -m benchmarks`: the core table. Sizes come from the environment."""

import os

from benchmarks import core, report, servers
from benchmarks.contenders import Contender
from benchmarks.contenders.django_loop import DjangoLoop
from benchmarks.contenders.ours import Ours
from benchmarks.contenders.pgbench import PgBench
from benchmarks.contenders.psycopg_loop import PsycopgLoop

CONTENDERS: dict[str, type[Contender]] = {
    "pgbench": PgBench,
    "psycopg": PsycopgLoop,
    "django": DjangoLoop,
    "ours": Ours,
}
VARIANTS = {"core": (0, "All orders go through"), "declined": (20, "20 % declined and compensated")}


def number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))


def main() -> None:
    names = os.environ.get("CONTENDERS", ",".join(CONTENDERS)).split(",")
    variants = os.environ.get("ONLY", ",".join(VARIANTS)).split(",")
    with servers.running() as these:
        for variant in variants:
            percent, title = VARIANTS[variant]
            figures = core.measure(
                these,
                [CONTENDERS[name]() for name in names],
                rounds=number("ROUNDS", 5),
                count=number("SAGAS", 1_000),
                percent=percent,
                slow=number("SLOW", 100),
            )
            print(report.write(variant, title, figures), flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
