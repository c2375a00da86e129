from django.apps import AppConfig


class ErrandsConfig(AppConfig):
    name = "tests.sagas.errands"

    def ready(self) -> None:
        from tests.sagas.errands import plan  # noqa: F401 - registers it
