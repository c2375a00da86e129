"""What is left behind by a process that is killed in the middle of a transfer, and who has to clear it away."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import errors, sql

from benchmarks import database, shipped
from benchmarks.crew import Crew
from benchmarks.transfer_app import accounts, there
from benchmarks.work import Batch

ONE = Batch(0, 1)
PATIENCE_S = 60
HEAD = "| who dies, and when | right after it | nobody acts | in the end |\n|---|---|---|---|"
_IN_DOUBT = "SELECT database, gid FROM pg_prepared_xacts ORDER BY database"


def coordinator(place: str, nobody_acts_for: float) -> str:
    """Kill the coordinator of a two-phase commit, look, wait, look again, and do what a person would have to do."""
    accounts.empty()
    with _deaths(place) as asked_for:
        crew = Crew("benchmarks.contenders.two_phase", 1)
        _run_into_death(crew, asked_for)
    at_first = _in_doubt()
    time.sleep(nobody_acts_for)
    later = _in_doubt()
    # What both have prepared may be undone; what one has committed has to be committed by the other.
    words = "ROLLBACK PREPARED" if place == "prepared" else "COMMIT PREPARED"
    for name, gid in _prepared():
        with _connect(name) as connection:
            connection.execute(sql.SQL(words + " {}").format(sql.Literal(gid)))
    return (
        f"| two-phase, {place} | {at_first} | after {nobody_acts_for:g} s: {later} | {words} by hand: {_in_doubt()} |"
    )


def worker(place: str, nobody_acts_for: float) -> str:
    """Kill the worker that drives a saga, with another one and a sweeper beside it, and only look."""
    accounts.empty()
    with _deaths(place) as asked_for, _saga_workers():
        starter = Crew("benchmarks.contenders.transfer_saga", 1)
        starter.run(ONE)
        starter.stop()
        _wait_until(lambda: not asked_for.exists())
        died = time.monotonic()
        _wait_until(lambda: _is_free(database.connect))
        free = time.monotonic() - died
        at_first = _in_doubt()
        accounts.wait_for_ends(ONE)
        ended = time.monotonic() - died
    accounts.check(ONE)
    return (
        f"| saga, in its {place} | rows free after {free:.1f} s, {at_first} "
        f"| ended by another worker after {ended:.1f} s | {_in_doubt()} |"
    )


DEATHS: dict[str, Callable[[str, float], str]] = {
    "prepared": coordinator,
    "half committed": coordinator,
    "debit": worker,
    "credit": worker,
}


@contextmanager
def _deaths(place: str) -> Iterator[Path]:
    """A file that stands for one death at ``place``; who dies takes it away."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(DEATHS=folder, ACCOUNTS="1", DISTANCE_MS="0")
        asked_for = Path(folder) / place
        asked_for.touch()
        yield asked_for


def _run_into_death(crew: Crew, asked_for: Path) -> None:
    try:
        crew.run(ONE)
    except RuntimeError:
        crew.stop()
    if asked_for.exists():
        raise AssertionError(f"nobody died at {asked_for.name}")


@contextmanager
def _saga_workers() -> Iterator[None]:
    processes = shipped.begin("saga_worker", "saga_worker", "saga_sweeper")
    try:
        yield
    finally:
        shipped.end(processes)


def _in_doubt() -> str:
    """In a few words: what is prepared, which rows cannot be written, and whether money is missing."""
    sides = {"here": database.connect, "there": accounts.connect_there}
    held = [name for name, connect in sides.items() if not _is_free(connect)]
    left, arrived = accounts.moved()
    return (
        f"transactions in doubt: {len(_prepared())}, rows locked {' and '.join(held) or 'nowhere'}, "
        f"{left} cents left and {arrived} arrived"
    )


def _prepared() -> list[tuple[str, str]]:
    with database.connect() as connection:
        return [(str(name), str(gid)) for name, gid in connection.execute(_IN_DOUBT.encode())]


def _is_free(connect: Callable[[], "psycopg.Connection[tuple[object, ...]]"]) -> bool:
    """Whether somebody else could write the account now."""
    with connect() as connection:
        table = "account" if connection.info.dbname == there.NAME else "bench_transfers_account"
        try:
            connection.execute(sql.SQL("SELECT FROM {} WHERE id = 1 FOR UPDATE NOWAIT").format(sql.Identifier(table)))
        except errors.LockNotAvailable:
            return False
    return True


def _connect(name: str) -> "psycopg.Connection[tuple[object, ...]]":
    return accounts.connect_there() if name == there.NAME else database.connect()


def _wait_until(so: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not so():
        if time.monotonic() > until:
            raise TimeoutError(f"it did not come to that within {PATIENCE_S} s")
        time.sleep(0.02)
