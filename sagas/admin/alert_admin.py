"""What is wrong now and what was, with what to do about it."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sagas.admin.readonly import ReadOnlyAdmin
from sagas.admin.words import moment, span
from sagas.monitoring.models import Alert
from sagas.monitoring.playbook import play


class State(admin.SimpleListFilter):
    """Open or over, each with an index."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("over", "Over")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        if self.value() == "open":
            return queryset.filter(resolved_at__isnull=True)
        if self.value() == "over":
            return queryset.filter(resolved_at__isnull=False)
        return queryset


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ["title", "state", "subject", "count", "since", "took"]
    list_filter = [State]
    ordering = ["-id"]
    fields = ["title", "state", "subject", "message", "count", "saga", "since", "seen", "took", "todo", "told"]

    @admin.display(description="alert")
    def title(self, alert: Alert) -> str:
        return alert.get_condition_display().capitalize()

    @admin.display(description="state")
    def state(self, alert: Alert) -> SafeString:
        tone, mark, word = ("good", "✓", "Over") if alert.resolved_at else ("bad", "!", "Open")
        return format_html(
            '<span class="saga-badge saga-{}"><span aria-hidden="true">{}</span> {}</span>', tone, mark, word
        )

    @admin.display(description="since (UTC)")
    def since(self, alert: Alert) -> SafeString | str:
        return moment(alert.opened_at)

    @admin.display(description="last seen (UTC)")
    def seen(self, alert: Alert) -> SafeString | str:
        return moment(alert.seen_at)

    @admin.display(description="lasted")
    def took(self, alert: Alert) -> str:
        return span(alert.resolved_at - alert.opened_at) if alert.resolved_at else ""

    @admin.display(description="one of the sagas")
    def saga(self, alert: Alert) -> SafeString | str:
        if alert.saga_id is None:
            return "none"
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:sagas_sagainstance_change", args=[alert.saga_id]), alert.saga_id
        )

    @admin.display(description="what to do")
    def todo(self, alert: Alert) -> SafeString | str:
        found = play(alert.code)
        if found is None:
            return f"The playbook knows nothing of {alert.code}."
        steps = format_html_join("", "<li>{}</li>", ((step,) for step in found.steps))
        return format_html("<p><strong>{}.</strong> {}</p><ol>{}</ol>", found.title, found.meaning, steps)

    @admin.display(description="who was told")
    def told(self, alert: Alert) -> SafeString | str:
        lines = format_html_join(
            "",
            "<div>{} by {}: {}</div>",
            ((m.get_news_display(), m.get_channel_display().lower(), _fate(m)) for m in alert.messages.all()),
        )
        return lines or "nobody: no mail address and no webhook is set"


def _fate(message: Any) -> SafeString | str:
    if message.sent_at:
        return moment(message.sent_at)
    if not message.last_error:
        return "not sent yet"
    return f"{message.tries} tries, the last said: {message.last_error}"
