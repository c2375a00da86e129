"""The shop's settings with the benchmarks' own apps. They have no migrations: `--run-syncdb` makes their tables."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as SHOP_APPS

INSTALLED_APPS = [*SHOP_APPS, "benchmarks.shop_app", "benchmarks.transfer_app"]
