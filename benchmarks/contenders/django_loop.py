"""A plain loop over the same step functions, one `atomic()` each: what any Django engine has to pay."""

import os
import time
from dataclasses import dataclass

from benchmarks.contenders.loop import Loop
from benchmarks.crew import serve


class DjangoLoop(Loop):
    name = "Django loop"
    module = __name__


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    import django

    django.setup()
    from django.db import transaction

    from benchmarks.shop_app import steps
    from sagas.outcomes import Refused

    @dataclass(frozen=True)
    class OnlyData:
        data: steps.Purchase

    forward = (steps.reserve_stock, steps.record_payment, steps.record_shipment, steps.confirm_order)

    def do(number: str, product: int, quantity: int, cents: int, declined: bool) -> float:
        purchase = steps.Purchase(number, product, quantity, cents, declined)
        ctx = OnlyData(purchase)
        with transaction.atomic():
            steps.place_order(purchase)
        started = time.time()
        try:
            for step in forward:
                with transaction.atomic():
                    step(ctx)
        except Refused:
            for undo in (steps.release_stock, steps.cancel_order):
                with transaction.atomic():
                    undo(ctx)
        return started

    serve(do)


if __name__ == "__main__":
    main()
