"""The shipped engine: orders are started through its public API, and `manage.py saga_worker` drives them."""

import os
import time

from benchmarks import database, shipped
from benchmarks.crew import Crew, serve
from benchmarks.work import Batch

WORKERS = 2
STARTERS = 2


class Ours:
    """The clock runs from the first start to the end of the last saga; starting is part of the work."""

    name = "this engine"
    module = __name__
    commands: tuple[str, ...] = ("saga_worker",) * WORKERS

    def prepare(self) -> None:
        self.workers = shipped.begin(*self.commands)
        self.starters = Crew(self.module, STARTERS)
        self.run(Batch(first=999_000_000, count=20))  # the workers have started when these are done

    def pids(self) -> list[int]:
        return [*(worker.pid for worker in self.workers), *self.starters.pids]

    def run(self, batch: Batch) -> list[float]:
        started = self.starters.run(batch)
        self.wait_for_ends(batch)
        return started

    def wait_for_ends(self, batch: Batch) -> None:
        database.wait_for_ends(batch)

    def clean(self) -> None:
        self.starters.stop()
        shipped.end(self.workers)


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    import django

    django.setup()
    from django.db import transaction

    from benchmarks.shop_app.saga import BenchmarkOrder
    from benchmarks.shop_app.steps import Purchase, place_order
    from sagas.services import start

    committed: list[float] = []

    def do(number: str, product: int, quantity: int, cents: int, declined: bool) -> float:
        purchase = Purchase(number, product, quantity, cents, declined)
        with transaction.atomic():
            place_order(purchase)
            transaction.on_commit(lambda: committed.append(time.time()))
            start(BenchmarkOrder, purchase, key=number)
        return committed.pop()

    serve(do)


if __name__ == "__main__":
    main()
