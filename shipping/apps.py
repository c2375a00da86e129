from django.apps import AppConfig


class ShippingConfig(AppConfig):
    name = "shipping"

    def ready(self) -> None:
        # Subscribes to the events of others.
        from shipping import handlers  # noqa: F401
