from django.apps import AppConfig


class SagasConfig(AppConfig):
    name = "sagas"

    def ready(self) -> None:
        from sagas import checks  # noqa: F401 - registers them
