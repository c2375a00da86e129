import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from django.template.defaultfilters import pluralize

from sagas.audit import MOST, Report, Violation, audit, scope_of_next
from sagas.management.terminal import why_no_answer

# The exit code when nothing is known: 1 says that a rule is broken.
NOT_LOOKED = 3


class Command(BaseCommand):
    help = "Check what always has to hold, in one snapshot; exit with an error when something does not."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as JSON")
        parser.add_argument(
            "--lately", action="store_true", help="leave out what ended before the last audit, as the sweeper does"
        )

    def handle(self, *args: Any, lately: bool, **options: Any) -> None:
        try:
            report = audit(scope_of_next() if lately else None)
        except OperationalError as error:
            raise CommandError(why_no_answer(error), returncode=NOT_LOOKED) from error
        if options["json"]:
            self.stdout.write(json.dumps(report.to_json(), indent=2))
        else:
            self._write(report)
        if report.violations:
            count = len(report.violations)
            raise CommandError(f"{count} violation{pluralize(count)} (at most {MOST} of a rule are listed).")

    def _write(self, report: Report) -> None:
        what = f"since {report.since:%Y-%m-%d %H:%M:%S} UTC" if report.since else "everything"
        self.stdout.write(f"Audited {what}, as it was at {report.at:%Y-%m-%d %H:%M:%S} UTC, in {report.seconds:.2f} s.")
        for violation in report.violations:
            self.stdout.write(_line(violation))
        if report.orphans:
            self.stdout.write(
                f"{len(report.orphans)} orphan{pluralize(report.orphans)}; nothing is wrong, but somebody should know:"
            )
        for orphan in report.orphans:
            self.stdout.write(_line(orphan))
        if report.unseen:
            self.stdout.write("Not everything could be looked at:")
        for unseen in report.unseen:
            self.stdout.write(_line(unseen))
        if not report.violations:
            self.stdout.write("Nothing is wrong in what was looked at." if report.unseen else "Nothing is wrong.")


def _line(violation: Violation) -> str:
    link = violation.link and f"\n    {getattr(settings, 'PUBLIC_URL', '').rstrip('/')}{violation.link}"
    return f"  {violation}{f' Saga {violation.saga}.' if violation.saga else ''}{link}"
