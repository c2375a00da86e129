"""Videos in the admin: to be read, with how far each has come."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from examples.video.models import Rendition, Video
from examples.video.saga import PublishVideo
from examples.video.steps import MADE_BY
from ledger_admin import LedgerAdmin, LedgerInline
from sagas import selectors as sagas
from sagas.admin.links import register_resource_page

# Counted for the rows that are shown: a join would count for all before it sorts them.
_MADE = (
    Rendition.objects.filter(video=OuterRef("pk")).order_by().values("video").annotate(made=Count("pk")).values("made")
)
FILES = sum(map(len, MADE_BY.values()))


class RenditionInline(LedgerInline):
    model = Rendition
    fields = ["name", "size"]
    readonly_fields = ["name", "size"]


@admin.register(Video)
class VideoAdmin(LedgerAdmin):
    list_display = ["reference", "title", "status", "progress", "created_at"]
    list_filter = ["status"]
    search_fields = ["reference__exact"]
    inlines = [RenditionInline]
    fields = [
        "reference", "title", "status", "reason", "progress", "saga", "width", "height", "frames", "milliseconds",
        "created_at", "published_at",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Video]:
        videos: QuerySet[Video] = super().get_queryset(request)
        return videos.annotate(made=Coalesce(Subquery(_MADE), 0))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return self.fields  # type: ignore[return-value]

    @admin.display(description="Files made")
    def progress(self, video: Any) -> SafeString:
        return format_html(
            '<progress aria-label="files made" max="{}" value="{}"></progress> {} of {}',
            FILES,
            video.made,
            video.made,
            FILES,
        )

    @admin.display(description="Saga")
    def saga(self, video: Video) -> SafeString | str:
        saga = sagas.saga_with_steps(PublishVideo.name, video.reference)
        if saga is None:
            return "Forgotten, long after its end"
        page = reverse("admin:sagas_sagainstance_change", args=[saga.pk])
        return format_html('<a href="{}">{}</a>: {}', page, saga.get_status_display(), sagas.waiting_words(saga))


register_resource_page("video", lambda reference: f"{reverse('admin:video_video_changelist')}?reference={reference}")
