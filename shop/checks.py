"""Django system checks of the shop's own settings."""

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from shop.models import Order


@register()
def checkout_mode_is_known(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Or no order could be placed."""
    if settings.CHECKOUT_MODE in Order.Mode.values:
        return []
    hint = f"Set CHECKOUT_MODE to one of: {', '.join(Order.Mode.values)}."
    return [Error(f"Nobody carries out orders in the mode {settings.CHECKOUT_MODE!r}.", hint=hint, id="shop.E001")]
