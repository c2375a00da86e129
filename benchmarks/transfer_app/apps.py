from django.apps import AppConfig


class BenchmarkTransfers(AppConfig):
    name = "benchmarks.transfer_app"
    label = "bench_transfers"

    def ready(self) -> None:
        from benchmarks.transfer_app import saga  # noqa: F401 - so that the workers know the plan
