"""The transfer as a saga of the shipped engine: started through its public API, driven by `manage.py saga_worker`."""

import os
import time

from benchmarks.contenders.ours import Ours
from benchmarks.crew import serve
from benchmarks.transfer_app import accounts
from benchmarks.work import Batch


class TransferSaga(Ours):
    name = "saga"
    module = __name__
    # On a busy machine a hint gets lost; then the sweeper is who finds the last saga.
    commands = (*Ours.commands, "saga_sweeper")

    def wait_for_ends(self, batch: Batch) -> None:
        accounts.wait_for_ends(batch)


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    import django

    django.setup()
    from django.db import transaction

    from benchmarks.transfer_app.saga import BenchmarkTransfer
    from benchmarks.transfer_app.steps import Payment, ask_for_transfer
    from sagas.services import start

    committed: list[float] = []

    def do(number: str, product: int, quantity: int, cents: int, declined: bool) -> float:
        payment = Payment(number, accounts.account_of(product), cents)
        with transaction.atomic():
            ask_for_transfer(payment)
            transaction.on_commit(lambda: committed.append(time.time()))
            start(BenchmarkTransfer, payment, key=number)
        return committed.pop()

    serve(do)


if __name__ == "__main__":
    main()
