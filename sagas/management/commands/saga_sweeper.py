from typing import Any

from django.core.management.base import BaseCommand

from sagas import driver, sweeper


class Command(BaseCommand):
    help = "Find sagas that are due and hint at them. Any number of sweepers may run."

    def handle(self, *args: Any, **options: Any) -> None:
        sweeper.run()
        driver.leave()
