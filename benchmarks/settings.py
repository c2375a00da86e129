"""The shop's settings with the benchmark's own app. It has no migrations: its tables are made by `--run-syncdb`."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as SHOP_APPS

INSTALLED_APPS = [*SHOP_APPS, "benchmarks.shop_app"]
