"""The list of what live sagas hold."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import now

from sagas.admin.links import resource_url
from sagas.admin.readonly import ReadOnlyAdmin
from sagas.admin.words import badge, span
from sagas.models import LockWaiter, SemanticLock
from sagas.operations import PERMISSIONS

MOST_IN_LINE = 5


@admin.register(SemanticLock)
class LockAdmin(ReadOnlyAdmin):
    """Only live sagas hold locks, so the table is as short as what is under way."""

    list_display = ["resource", "holder", "state", "held_for", "in_line", "way_out"]
    list_display_links = None
    list_select_related = ["saga"]
    ordering = ["taken_at", "id"]  # the oldest first: they are the ones to look at
    search_fields = ["resource_id__exact"]
    search_help_text = "What is locked: an order number."

    def get_queryset(self, request: HttpRequest) -> QuerySet[SemanticLock]:
        line = LockWaiter.objects.filter(resource_type=OuterRef("resource_type"), resource_id=OuterRef("resource_id"))
        first = line.order_by("id").values("saga__business_key")[:MOST_IN_LINE]
        return SemanticLock.objects.filter(saga__isnull=False).annotate(waiters=ArraySubquery(first))

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """The way to a lock's release only for those who may go it."""
        may = request.user.has_perm(PERMISSIONS["release"])
        return [name for name in self.list_display if may or name != "way_out"]

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

    @admin.display(description="in line")
    def in_line(self, lock: SemanticLock) -> str:
        return ", ".join(lock.waiters)  # type: ignore[attr-defined]  # of `get_queryset`

    @admin.display(description="operate")
    def way_out(self, lock: SemanticLock) -> SafeString:
        url = reverse("admin:sagas_sagainstance_release", args=[lock.saga_id])
        return format_html('<a href="{}?{}">Release…</a>', url, urlencode({"lock": str(lock)}))

    def has_view_permission(self, request: HttpRequest, obj: SemanticLock | None = None) -> bool:
        """A lock has no page of its own: its holder has."""
        return obj is None and super().has_view_permission(request, obj)
