from django.apps import AppConfig


class TravelConfig(AppConfig):
    name = "examples.travel"
    label = "travel"
    verbose_name = "Example: travel"

    def ready(self) -> None:
        # Registers the plan, so that the workers know it, and what is audited.
        from examples.travel import audit, saga  # noqa: F401
