"""The settings of the worker processes: the project's, and the app with the plan they drive."""

from config.settings import *  # noqa: F403 - that is how settings are extended
from config.settings import INSTALLED_APPS as PROJECT_APPS

INSTALLED_APPS = [*PROJECT_APPS, "tests.sagas.errands"]
