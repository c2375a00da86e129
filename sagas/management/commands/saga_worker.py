from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from sagas import driver, worker


class Command(BaseCommand):
    help = "Drive sagas: take hints from RQ and run what is due."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--burst", action="store_true", help="stop when no hint is left")

    def handle(self, *args: Any, burst: bool, **options: Any) -> None:
        worker.run(burst=burst)
        driver.leave()
