"""The periodic jobs, and what the auditor found the last time."""

from typing import Any

from django.contrib import admin
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sagas.admin.readonly import ReadOnlyAdmin
from sagas.admin.words import moment, pretty_json, span
from sagas.models import PeriodicJob


@admin.register(PeriodicJob)
class PeriodicJobAdmin(ReadOnlyAdmin):
    """One row a job, so the list is short. A report of the auditor is shown in words."""

    list_display = ["name", "started", "took", "outcome"]
    fields = ["name", "started", "took", "outcome", "last_error", "result"]

    @admin.display(description="last started (UTC)")
    def started(self, job: PeriodicJob) -> SafeString | str:
        return moment(job.last_started_at)

    @admin.display(description="took")
    def took(self, job: PeriodicJob) -> str:
        return span(job.last_ended_at - job.last_started_at) if job.last_ended_at else "has not come back yet"

    @admin.display(description="outcome")
    def outcome(self, job: PeriodicJob) -> str:
        return outcome_of(job)

    @admin.display(description="last result")
    def result(self, job: PeriodicJob) -> SafeString:
        report = _report_of(job)
        if report is None:
            return format_html("<pre>{}</pre>", pretty_json(job.last_result))
        head = format_html(
            "<p>As it was at {}, checked in {} s, {}.</p>",
            report["at"],
            report["seconds"],
            f"with all that ended since {report['since']}" if report["since"] else "everything",
        )
        found = _table("Violations", report["violations"]) + _table("Orphans", report["orphans"])
        return head + found + _table("Could not be looked at", report.get("unseen", []))


def outcome_of(job: PeriodicJob) -> str:
    """What the last run came to, in words; empty where nothing is known of it."""
    if job.last_error:
        return f"failed: {job.last_error}"
    report = _report_of(job)
    if report is None:
        return "" if job.last_result is None else pretty_json(job.last_result)
    wrong, orphans = len(report["violations"]), len(report["orphans"])
    words = f"{wrong} violations" if wrong else "nothing is wrong"
    if report.get("unseen"):
        words += " in what was looked at, which is not everything"
    return f"{words}, {orphans} orphans" if orphans else words


def _report_of(job: PeriodicJob) -> dict[str, Any] | None:
    """What the job returned, if it is an audit's report."""
    result = job.last_result
    return result if isinstance(result, dict) and {"at", "since", "violations", "orphans"} <= result.keys() else None


def _table(title: str, rows: list[dict[str, Any]]) -> SafeString:
    if not rows:
        return format_html("<p>{}: none.</p>", title)
    lines = format_html_join(
        "",
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        ((row["rule"], _subject(row), row["found"], row["expected"]) for row in rows),
    )
    return format_html(
        '<table><caption>{}</caption><thead><tr><th scope="col">Rule</th><th scope="col">For</th>'
        '<th scope="col">Found</th><th scope="col">Expected</th></tr></thead><tbody>{}</tbody></table>',
        title,
        lines,
    )


def _subject(row: dict[str, Any]) -> SafeString | str:
    return format_html('<a href="{}">{}</a>', row["link"], row["subject"]) if row["link"] else str(row["subject"])
