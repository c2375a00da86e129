from django.apps import AppConfig


class InventoryConfig(AppConfig):
    name = "inventory"

    def ready(self) -> None:
        # Subscribes to the events of others.
        from inventory import handlers  # noqa: F401
