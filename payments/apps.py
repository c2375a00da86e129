from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    name = "payments"

    def ready(self) -> None:
        # Subscribes to the events of others.
        from payments import handlers  # noqa: F401
