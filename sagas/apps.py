from django.apps import AppConfig


class SagasConfig(AppConfig):
    name = "sagas"

    def ready(self) -> None:
        # Registers what is checked at the start and every minute, and what is done again and again.
        from sagas import checks, invariants, lifecycle  # noqa: F401
        from sagas.choreography import retention  # noqa: F401
        from sagas.monitoring import tally  # noqa: F401
