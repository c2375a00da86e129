"""`python -m benchmarks`: the core table. Sizes come from the environment.

CONTENDERS (names, or peers), ONLY (core, declined), ROUNDS, SAGAS and SLOW (in a round, and at low load).
"""

import os
from collections.abc import Iterable

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


def number(name: str, default: int, least: int) -> int:
    """Raises SystemExit, with the name, for what is no such number."""
    given = os.environ.get(name, str(default))
    if not given.isdecimal() or int(given) < least:
        raise SystemExit(f"{name} has to be a whole number from {least} on, not {given!r}.")
    return int(given)


def chosen(name: str, known: Iterable[str], default: Iterable[str]) -> list[str]:
    """What a variable names, separated by commas. Raises SystemExit, with the name, for what is not known."""
    given = os.environ.get(name, ",".join(default)).replace("peers", ",".join(PEERS)).split(",")
    if unknown := set(given).difference(known):
        raise SystemExit(f"{name} has to be some of {','.join(known)}, not {', '.join(map(repr, sorted(unknown)))}.")
    return given


def main() -> None:
    names = chosen("CONTENDERS", CONTENDERS | PEERS, CONTENDERS)
    if "restate" in names and not RESTATE_SERVER.exists():
        print("Restate is left out: its server was not installed, for which npm is needed.")  # noqa: T201
        names.remove("restate")
    rounds, count, slow = number("ROUNDS", 5, 1), number("SAGAS", 1_000, 1), number("SLOW", 25, 0)
    for variant in chosen("ONLY", VARIANTS, VARIANTS):
        percent, title = VARIANTS[variant]
        with servers.running() as these:
            contenders = [(CONTENDERS | PEERS)[name]() for name in names]
            figures = core.measure(these, contenders, rounds=rounds, count=count, percent=percent, slow=slow)
            print(report.write(variant, title, figures), flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
