"""The core measurement: the same work for all contenders, in interleaved rounds."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks import database, processor
from benchmarks.contenders import Contender
from benchmarks.servers import Servers
from benchmarks.work import Batch

COUNTED = 100
# A text of several lines goes on with a tab.
_LOGGED = re.compile(rb"\[(\d+)\] LOG:  (?:statement|execute [^:]*): (.*(?:\n\t.*)*)")
# Of a statement, and of each that is sent along with it; no value of the orders has a semicolon.
_FIRST_WORD = re.compile(rb"(?:^|;)\s*(\w+(?: TO)?)")
_FRAME = {b"BEGIN", b"COMMIT", b"SAVEPOINT", b"RELEASE", b"ROLLBACK", b"ROLLBACK TO", b"SET"}
_WRITES = {b"INSERT", b"UPDATE", b"DELETE", b"WITH"}


@dataclass
class Figures:
    """What was seen of one contender; one entry a round in each list, and one an order in ``latencies``."""

    rate: list[float] = field(default_factory=list)
    own_cpu: list[float] = field(default_factory=list)
    postgres_cpu: list[float] = field(default_factory=list)
    wal: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    statements: float = 0
    commits: float = 0


@contextmanager
def prepared(contenders: Sequence[Contender]) -> Iterator[None]:
    ready: list[Contender] = []
    try:
        for contender in contenders:
            database.empty()
            contender.prepare()
            ready.append(contender)
        yield
    finally:
        for contender in ready:
            contender.clean()


def measure(
    servers: Servers, contenders: Sequence[Contender], *, rounds: int, count: int, percent: int, slow: int
) -> dict[str, Figures]:
    """Every contender takes its turn in every round, in an order that turns with the rounds; the first is warm-up."""
    figures = {contender.name: Figures() for contender in contenders}
    with prepared(contenders):
        for nth in range(rounds + 1):
            for contender in [*contenders[nth % len(contenders) :], *contenders[: nth % len(contenders)]]:
                into = figures[contender.name] if nth else Figures()
                _turn(servers, contender, Batch(0, count, percent), into)
                if slow:
                    _one_at_a_time(contender, Batch(0, slow, percent, pause=0.1), into)
        for contender in contenders:
            _count(servers, contender, percent, figures[contender.name])
    return figures


def _turn(servers: Servers, contender: Contender, batch: Batch, into: Figures) -> None:
    database.empty()
    wal, own, postgres = database.wal_position(), *_cpu(servers, contender)
    began = time.monotonic()
    contender.run(batch)
    seconds = time.monotonic() - began
    own_after, postgres_after = _cpu(servers, contender)
    into.rate.append(database.check(batch) / seconds)
    into.own_cpu.append((own_after - own) / batch.count * 1_000)
    into.postgres_cpu.append((postgres_after - postgres) / batch.count * 1_000)
    into.wal.append((database.wal_position() - wal) / batch.count)


def _one_at_a_time(contender: Contender, batch: Batch, into: Figures) -> None:
    database.empty()
    if started := contender.run(batch):
        into.latencies += database.latencies(batch, started)
    database.check(batch)


def _cpu(servers: Servers, contender: Contender) -> tuple[float, float]:
    return processor.seconds(contender.pids()), processor.seconds([servers.postgres_pid])


def _count(servers: Servers, contender: Contender, percent: int, into: Figures) -> None:
    """Statements and commits, from the server's log; in a batch of its own, because logging costs time."""
    database.empty()
    database.log_statements(True)
    before = servers.postgres_log.stat().st_size
    batch = Batch(0, COUNTED, percent)
    contender.run(batch)
    with servers.postgres_log.open("rb") as log:
        log.seek(before)
        logged = _LOGGED.findall(log.read())
    seen = [(session, word.upper()) for session, text in logged for word in _FIRST_WORD.findall(text)]
    database.log_statements(False)
    into.statements = sum(word not in _FRAME for _, word in seen) / COUNTED
    into.commits = _commits(seen) / COUNTED


def _commits(seen: Sequence[tuple[bytes, bytes]]) -> int:
    """Each COMMIT, and each write that is a transaction of its own."""
    commits, within = 0, set()
    for session, word in seen:
        if word == b"BEGIN":
            within.add(session)
        elif word == b"COMMIT" or (word in _WRITES and session not in within):
            commits += 1
        if word in (b"COMMIT", b"ROLLBACK"):
            within.discard(session)
    return commits
