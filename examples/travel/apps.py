from django.apps import AppConfig


class TravelConfig(AppConfig):
    name = "examples.travel"
    label = "travel"
    verbose_name = "Example: travel"

    def ready(self) -> None:
        # Registers the plan, so that the workers know it.
        from examples.travel import saga  # noqa: F401
