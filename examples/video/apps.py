from django.apps import AppConfig


class VideoConfig(AppConfig):
    name = "examples.video"
    verbose_name = "Example: video publishing"

    def ready(self) -> None:
        from examples.video import saga  # noqa: F401 - so that the workers know the plan
