from django.apps import AppConfig


class BenchmarkShop(AppConfig):
    name = "benchmarks.shop_app"
    label = "bench"

    def ready(self) -> None:
        from benchmarks.shop_app import saga  # noqa: F401 - so that the workers know the plan
