"""`python -m benchmarks`: the core table. Sizes come from the environment.

CONTENDERS (names, or peers), ONLY (core, declined), ROUNDS, SAGAS and SLOW (in a round, and at low load).
"""

import os

from benchmarks import core, report, servers
from benchmarks.contenders import Contender
from benchmarks.contenders.django_loop import DjangoLoop
from benchmarks.contenders.ours import Ours
from benchmarks.contenders.peers import RESTATE_SERVER, CeleryChain, Dbos, Procrastinate, Restate, RqForking, RqSimple
from benchmarks.contenders.pgbench import PgBench
from benchmarks.contenders.psycopg_loop import PsycopgLoop

CONTENDERS: dict[str, type[Contender]] = {
    "pgbench": PgBench,
    "psycopg": PsycopgLoop,
    "django": DjangoLoop,
    "ours": Ours,
}
PEERS: dict[str, type[Contender]] = {
    "restate": Restate,
    "celery": CeleryChain,
    "procrastinate": Procrastinate,
    "dbos": Dbos,
    "rq-simple": RqSimple,
    "rq-forking": RqForking,
}
VARIANTS = {"core": (0, "All orders go through"), "declined": (20, "20 % declined and compensated")}


def number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))


def contenders() -> list[str]:
    names = os.environ.get("CONTENDERS", ",".join(CONTENDERS)).replace("peers", ",".join(PEERS)).split(",")
    if "restate" in names and not RESTATE_SERVER.exists():
        print("Restate is left out: its server was not installed, for which npm is needed.")  # noqa: T201
        names.remove("restate")
    return names


def main() -> None:
    names = contenders()
    variants = os.environ.get("ONLY", ",".join(VARIANTS)).split(",")
    for variant in variants:
        percent, title = VARIANTS[variant]
        with servers.running() as these:
            figures = core.measure(
                these,
                [(CONTENDERS | PEERS)[name]() for name in names],
                rounds=number("ROUNDS", 5),
                count=number("SAGAS", 1_000),
                percent=percent,
                slow=number("SLOW", 25),
            )
            print(report.write(variant, title, figures), flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
