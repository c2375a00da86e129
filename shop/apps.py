from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        # Connects the cart to the login, registers the plans, what is audited and what is done periodically.
        from shop import audit, cancellation, carts, checkout, news, readdressing, returning  # noqa: F401
