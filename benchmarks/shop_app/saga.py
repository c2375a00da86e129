"""The plans that are measured."""

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


class PromptBankOrder(Saga[Purchase]):
    """Its payment is a call outside, which is answered at once."""

    name, version = "bench.prompt_bank", 1
    steps = (
        Begin(steps.place_order, compensation=steps.cancel_order),
        Step(steps.reserve_stock, compensation=steps.release_stock),
        Pivot(steps.pay_at_once),
        Step(steps.record_shipment),
        Step(steps.confirm_order),
    )


class SlowBankOrder(Saga[Purchase]):
    """The same with a bank that takes its time."""

    name, version = "bench.slow_bank", 1
    steps = (
        Begin(steps.place_order, compensation=steps.cancel_order),
        Step(steps.reserve_stock, compensation=steps.release_stock),
        Pivot(steps.pay_slowly),
        Step(steps.record_shipment),
        Step(steps.confirm_order),
    )
