"""`python -m benchmarks.starting`: what it costs to start sagas, one by one and many at once, and to start a process.

No worker runs: only what the caller of `start` pays is measured. Rounds of both kinds take turns.
"""

import argparse
import os
import time
from statistics import median

from benchmarks import database, servers, shipped
from benchmarks.work import Batch

# From the start of the process to its first heartbeat: from then on it takes hints.
_WORKERS = "rq:workers:sagas"


def tell(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - what it is for


def one_by_one(batch: Batch) -> float:
    from django.db import transaction

    from benchmarks.shop_app.saga import BenchmarkOrder
    from benchmarks.shop_app.steps import Purchase
    from sagas.services import start

    purchases = [Purchase(*order) for order in batch.orders()]
    began = time.perf_counter()
    for purchase in purchases:
        with transaction.atomic():
            start(BenchmarkOrder, purchase, key=purchase.number)
    return (time.perf_counter() - began) / batch.count


def at_once(batch: Batch) -> float:
    from django.db import transaction

    from benchmarks.shop_app.saga import BenchmarkOrder
    from benchmarks.shop_app.steps import Purchase
    from sagas.services import start_many

    purchases = [Purchase(*order) for order in batch.orders()]
    began = time.perf_counter()
    with transaction.atomic():
        start_many(BenchmarkOrder, [(purchase.number, purchase) for purchase in purchases])
    return (time.perf_counter() - began) / batch.count


def statements() -> int:
    """Of one `start`, in the transaction of what it is about."""
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    from benchmarks.shop_app.saga import BenchmarkOrder
    from benchmarks.shop_app.steps import Purchase
    from sagas.services import start

    purchase = Purchase(*next(Batch(900_000_000, 1).orders()))
    with transaction.atomic(), CaptureQueriesContext(connection) as seen:
        start(BenchmarkOrder, purchase, key=purchase.number)
    return len(seen)


def worker_start() -> float:
    """Seconds until a new worker is in the list of those that take hints."""
    import redis

    server = redis.Redis.from_url(os.environ["REDIS_URL"])
    before = int(str(server.scard(_WORKERS)))
    began = time.perf_counter()
    (process,) = shipped.begin("saga_worker")
    try:
        while int(str(server.scard(_WORKERS))) == before:
            if process.poll() is not None:
                raise RuntimeError(f"The worker ended with status {process.returncode}")
            time.sleep(0.01)
        return time.perf_counter() - began
    finally:
        shipped.end([process])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sagas", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    import django

    with servers.running():
        django.setup()
        singly: list[float] = []
        together: list[float] = []
        for nth in range(asked.rounds + 1):
            database.empty()
            for seconds, do, first in ((singly, one_by_one, 0), (together, at_once, 100_000_000)):
                taken = do(Batch(first, asked.sagas))
                if nth:  # the first round warms up
                    seconds.append(taken)
        ratios = [one / many for one, many in zip(singly, together, strict=True)]
        tell(
            f"start: {median(singly) * 1_000:.2f} ms, {statements()} statements; start_many({asked.sagas:,}): "
            f"{median(together) * 1_000:.3f} ms a saga, {median(ratios):.1f} times faster "
            f"({min(ratios):.1f} to {max(ratios):.1f})"
        )
        database.empty()  # a worker finds nothing to do
        starts = [worker_start() for _ in range(asked.rounds)]
        tell(f"a worker is ready after {median(starts):.2f} s (at most {max(starts):.2f})")


if __name__ == "__main__":
    main()
