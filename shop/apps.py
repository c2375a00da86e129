from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        from shop import carts, checkout  # noqa: F401 - connects the cart to the login, registers the plan
