from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        from config import checks  # noqa: F401 - registers them

        if settings.TELEMETRY:
            start_telemetry()


def start_telemetry() -> None:
    """OpenTelemetry is imported here, and only where it was asked for."""
    try:
        from config import telemetry
    except ImportError as error:
        raise ImproperlyConfigured(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: "
            "pip install --require-hashes -r requirements-telemetry.txt, or remove the variable."
        ) from error
    telemetry.TraceMiddleware.tracer = telemetry.start()
