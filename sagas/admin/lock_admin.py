"""The list of what live sagas hold."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import now

from sagas.admin.links import resource_url
from sagas.admin.readonly import ReadOnlyAdmin
from sagas.admin.words import badge, span
from sagas.models import SemanticLock


@admin.register(SemanticLock)
class LockAdmin(ReadOnlyAdmin):
    """Only live sagas hold locks, so the table is as short as what is under way."""

    list_display = ["resource", "holder", "state", "held_for"]
    list_display_links = None
    list_select_related = ["saga"]
    list_max_show_all = 0
    ordering = ["taken_at", "id"]  # the oldest first: they are the ones to look at
    search_fields = ["=resource_id"]
    search_help_text = "What is locked: an order number."

    def get_queryset(self, request: HttpRequest) -> QuerySet[SemanticLock]:
        return SemanticLock.objects.filter(saga__isnull=False)

    @admin.display(description="locked")
    def resource(self, lock: SemanticLock) -> SafeString | str:
        url = resource_url(lock.resource_type, lock.resource_id)
        return format_html('<a href="{}">{}</a>', url, str(lock)) if url else str(lock)

    @admin.display(description="held by")
    def holder(self, lock: SemanticLock) -> SafeString:
        url = reverse("admin:sagas_sagainstance_change", args=[lock.saga_id])
        return format_html('<a href="{}">{}</a>', url, str(lock.saga))

    @admin.display(description="status")
    def state(self, lock: SemanticLock) -> SafeString:
        assert lock.saga is not None
        return badge(lock.saga.status)

    @admin.display(description="for")
    def held_for(self, lock: SemanticLock) -> SafeString:
        return format_html(
            '<time datetime="{}" title="{}">{}</time>',
            lock.taken_at.isoformat(),
            lock.taken_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
            span(now() - lock.taken_at),
        )

    def has_view_permission(self, request: HttpRequest, obj: SemanticLock | None = None) -> bool:
        """A lock has no page of its own: its holder has."""
        return obj is None and super().has_view_permission(request, obj)
