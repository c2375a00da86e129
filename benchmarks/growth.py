"""`python -m benchmarks.growth`: a million finished sagas; how long looks, pages, audits and the purge take then."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from statistics import median

import psycopg

from benchmarks import database, filling, servers
from benchmarks.contenders.ours import Ours
from benchmarks.work import Batch

TABLES = ("sagas_sagainstance", *filling.PARTS)
LONG_AGO = timedelta(days=1)
TIMES = 21


def tell(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - what it is for


def milliseconds(do: Callable[[], object]) -> str:
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        do()
        times.append((time.perf_counter() - began) * 1_000)
    return f"{median(times):.1f} ms (at most {max(times):.1f})"


def rate(engine: Ours, batch: Batch) -> float:
    began = time.monotonic()
    engine.run(batch)
    return batch.count / (time.monotonic() - began)


def fill(rows: int, with_parts: int) -> None:
    """With the rows of the last saga that the warm-up of the engine finished."""
    from benchmarks import shop_rows
    from sagas.models import SagaInstance

    saga = SagaInstance.objects.filter(status="COMPLETED").latest("id")
    filling.number(rows)
    filling.sagas(saga.pk, rows, with_parts)
    shop_rows.fill(rows)


def tell_disk() -> None:
    with database.connect() as connection:
        for table in TABLES:
            row = connection.execute(
                f"SELECT count(*), pg_table_size('{table}'), pg_indexes_size('{table}') FROM {table}".encode()  # noqa: S608
            ).fetchone()
            assert row is not None
            tell(f"{table}: {row[0]} rows, {row[1]} bytes of table, {row[2]} bytes of indexes")


def tell_looks(when: str) -> None:
    from django.db import transaction

    from sagas import selectors, store

    def claim() -> None:
        with transaction.atomic():
            store.claim()
            transaction.set_rollback(True)

    tell(f"{when}: is anything due {milliseconds(selectors.is_anything_due)}, claim {milliseconds(claim)}")


def tell_under_an_old_snapshot(engine: Ours, sagas: int) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM sagas_periodicjob")
        tell(f"{rate(engine, Batch(200_000_000, sagas)):.0f} sagas a second under an old snapshot")
        tell_looks(f"after {sagas} sagas under an old snapshot")


def tell_pages() -> None:
    from django.conf import settings

    from benchmarks import pages
    from payments.models import Payment
    from sagas.models import SagaInstance

    settings.ALLOWED_HOSTS = ["*"]
    subprocess.run([sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"], check=True)
    saga = SagaInstance.objects.filter(business_key__startswith="G").earliest("id")
    row = Payment.objects.get(reference=saga.business_key).pk
    slowest = sorted(pages.measure(saga.business_key, saga.pk, row).items(), key=lambda page: -page[1])
    for address, took in slowest[:10]:
        tell(f"{took:.0f} ms {address}")


def tell_metrics() -> None:
    from sagas.monitoring.metrics import SagaCollector
    from sagas.monitoring.tally import count_new

    began = time.perf_counter()
    count_new()
    tell(f"the first count of everything: {time.perf_counter() - began:.1f} s")
    tell(f"the metrics: {milliseconds(lambda: list(SagaCollector().collect()))}")


def tell_audit() -> None:
    from sagas.audit import audit, scope_of_next

    tell(f"the audit of every minute: {audit(scope_of_next()).seconds:.2f} s")


def tell_purge(engine: Ours, sagas: int, rounds: int) -> None:
    """Rounds with and without the purge take turns: the machine has other work as well."""
    from sagas.lifecycle import purge

    alone, beside = [], []
    for nth in range(rounds):
        alone.append(rate(engine, Batch(300_000_000 + nth * 2_000_000, sagas)))
        purger = subprocess.Popen([sys.executable, "-m", "benchmarks.growth", "--only-purge"], stdout=subprocess.PIPE)
        assert purger.stdout is not None
        purger.stdout.readline()  # when its interpreter has started, which costs more than the purge
        beside.append(rate(engine, Batch(301_000_000 + nth * 2_000_000, sagas)))
        purger.terminate()
        purger.wait()
    tell(f"{median(alone):.0f} sagas a second, {median(beside):.0f} beside the purge")
    for rest in (0, 14):
        began = time.monotonic()
        purged = purge(after=LONG_AGO, touched_after=LONG_AGO, most=10_000, rest=rest)
        tell(f"the purge with a rest of {rest}: {purged / (time.monotonic() - began):.0f} a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sagas", type=int, default=1_000_000, help="how many have finished")
    parser.add_argument("--with-parts", type=int, default=200_000, help="how many of them have steps and events")
    parser.add_argument("--live", type=int, default=2_000, help="how many run in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-purge", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    import django

    if asked.only_purge:
        django.setup()
        from sagas.lifecycle import purge

        tell("purging")
        purge(after=LONG_AGO, touched_after=LONG_AGO)
        return
    with servers.running():
        django.setup()
        database.empty()
        engine = Ours()
        engine.prepare()
        try:
            tell(f"{rate(engine, Batch(100_000_000, asked.live)):.0f} sagas a second in empty tables")
            fill(asked.sagas, asked.with_parts)
            tell(f"{rate(engine, Batch(110_000_000, asked.live)):.0f} sagas a second in full ones")
            tell_disk()
            tell_looks("at rest")
            tell_metrics()
            tell_pages()
            tell_audit()
            tell_under_an_old_snapshot(engine, asked.live)
            tell_purge(engine, asked.live, asked.rounds)
        finally:
            engine.clean()


if __name__ == "__main__":
    main()
