"""The plan that is measured."""

from benchmarks.transfer_app import steps
from benchmarks.transfer_app.steps import Payment
from sagas.definition import Begin, Pivot, Saga, Step, seconds


class BenchmarkTransfer(Saga[Payment]):
    name, version = "bench.transfer", 1
    steps = (
        Begin(steps.ask_for_transfer, compensation=steps.cancel_transfer),
        Step(steps.debit, compensation=steps.return_debit),
        Pivot(steps.credit, timeout=seconds(2)),
        Step(steps.finish_transfer),
    )
