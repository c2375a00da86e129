import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sagas import lifecycle


class Command(BaseCommand):
    help = "Look after sagas from a terminal."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True)
        check = commands.add_parser("check_inflight", help="would this code finish or undo every live saga?")
        check.add_argument("--json", action="store_true", help="print the groups as JSON")
        purge = commands.add_parser("purge", help="delete sagas that ended some time ago")
        purge.add_argument("--days", type=int, help="how long ago; the setting by default")
        purge.add_argument("--touched-days", type=int, help="the same for those that a person touched")
        purge.add_argument("--batch", type=int, default=500, help="how many go in one commit")

    def handle(self, *args: Any, command: str, **options: Any) -> None:
        if command == "purge":
            self._purge(options["days"], options["touched_days"], options["batch"])
        else:
            self._check_inflight(options["json"])

    def _check_inflight(self, as_json: bool) -> None:
        """Exit code 1 if any live saga would stop: run it with the new code before a deploy goes on."""
        groups = lifecycle.inflight()
        if as_json:
            self.stdout.write(json.dumps([asdict(group) for group in groups], indent=2))
        else:
            for group in groups:
                verdict = "goes on" if group.can_go_on else "STOPS: no plan here starts with these steps"
                at = group.steps[-1] if group.steps else "its start"
                what = f"{group.definition} version {group.version}, {group.count} at {at} (such as {group.example})"
                self.stdout.write(f"{what}: {verdict}")
            if not groups:
                self.stdout.write("No saga is live.")
        stopped = sum(group.count for group in groups if not group.can_go_on)
        if stopped:
            raise CommandError(f"{stopped} live sagas would be suspended (DEFINITION_MISMATCH) under this code.")

    def _purge(self, days: int | None, touched_days: int | None, batch: int) -> None:
        purged = lifecycle.purge(
            after=None if days is None else timedelta(days=days),
            touched_after=None if touched_days is None else timedelta(days=touched_days),
            batch=batch,
        )
        self.stdout.write(f"{purged} ended sagas are gone.")
