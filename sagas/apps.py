from django.apps import AppConfig


class SagasConfig(AppConfig):
    name = "sagas"

    def ready(self) -> None:
        from sagas import checks, invariants  # noqa: F401 - registers what is checked at the start, and every minute
