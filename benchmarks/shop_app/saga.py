"""The plan that is measured."""

from benchmarks.shop_app import steps
from benchmarks.shop_app.steps import Purchase
from sagas.definition import Begin, Pivot, Saga, Step


class BenchmarkOrder(Saga[Purchase]):
    name, version = "bench.order", 1
    steps = (
        Begin(steps.place_order, compensation=steps.cancel_order),
        Step(steps.reserve_stock, compensation=steps.release_stock),
        Pivot(steps.record_payment),
        Step(steps.record_shipment),
        Step(steps.confirm_order),
    )
