"""The lists of what people did to sagas, and of what they tried and may not."""

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sagas.admin.readonly import ReadOnlyAdmin
from sagas.admin.words import badge
from sagas.models import Operation
from sagas.operator_models import DeniedOperation


@admin.register(Operation)
class OperationAdmin(ReadOnlyAdmin):
    list_display = ["when", "actor", "name", "target", "reason", "before", "after"]
    list_display_links = None
    list_select_related = ["saga", "actor"]
    ordering = ["-at", "-id"]
    search_fields = ["saga__business_key__exact"]
    search_help_text = "An order number."

    @admin.display(description="at (UTC)")
    def when(self, done: Operation) -> str:
        return done.at.strftime("%Y-%m-%d %H:%M:%S")

    @admin.display(description="saga")
    def target(self, done: Operation) -> SafeString:
        url = reverse("admin:sagas_sagainstance_change", args=[done.saga_id])
        return format_html('<a href="{}">{}</a> {}', url, str(done.saga), done.step)

    @admin.display(description="before")
    def before(self, done: Operation) -> SafeString:
        return badge(done.status_before)

    @admin.display(description="after")
    def after(self, done: Operation) -> SafeString:
        return badge(done.status_after)

    def has_view_permission(self, request: HttpRequest, obj: Operation | None = None) -> bool:
        """An operation has no page of its own: its saga has."""
        return obj is None and super().has_view_permission(request, obj)


@admin.register(DeniedOperation)
class DeniedOperationAdmin(ReadOnlyAdmin):
    list_display = ["when", "actor", "name", "target_words", "why"]
    list_display_links = None
    list_select_related = ["actor"]
    ordering = ["-at", "-id"]

    @admin.display(description="at (UTC)")
    def when(self, denied: DeniedOperation) -> str:
        return denied.at.strftime("%Y-%m-%d %H:%M:%S")

    @admin.display(description="saga")
    def target_words(self, denied: DeniedOperation) -> SafeString | str:
        if denied.saga_id is None:
            return denied.target
        url = reverse("admin:sagas_sagainstance_change", args=[denied.saga_id])
        return format_html('<a href="{}">{}</a> {}', url, denied.saga_id, denied.target)

    def has_view_permission(self, request: HttpRequest, obj: DeniedOperation | None = None) -> bool:
        return obj is None and super().has_view_permission(request, obj)
