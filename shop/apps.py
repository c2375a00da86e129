from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        # Connects the cart to the login, registers the plans, what is audited and what is done periodically.
        # And tells the operator's room what its sagas are about.
        from shop import (  # noqa: F401
            audit,
            cancellation,
            carts,
            checkout,
            checks,
            handlers,
            news,
            operators_room,
            readdressing,
            returning,
        )
