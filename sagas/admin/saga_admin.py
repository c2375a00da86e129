"""The list of sagas and the page of each."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import HTMX_STOP_POLLING

from sagas import bulk, denials, operations
from sagas.admin.bulk_admin import ask
from sagas.admin.export import export_of
from sagas.admin.filters import Definition, ForAPerson, SameFailure, Started, Status
from sagas.admin.links import subject_url
from sagas.admin.operating import operate
from sagas.admin.page import SagaPage, page_of
from sagas.admin.paging import beginning_with
from sagas.admin.readonly import ReadOnlyAdmin
from sagas.admin.selectors import is_at_version, saga_for_page
from sagas.admin.words import badge, span
from sagas.models import SagaInstance
from sagas.redaction import redact
from sagas.selectors import waiting_words, with_steps


@admin.register(SagaInstance)
class SagaAdmin(ReadOnlyAdmin):
    list_display = ["definition", "state", "about", "age", "why"]
    list_filter = [ForAPerson, Status, Definition, Started, SameFailure]
    list_per_page = 50
    ordering = ["-id"]  # version 7: the newest first
    search_fields = ["business_key"]
    search_help_text = "An order number or its beginning, or the id of a saga."
    actions = ["retry_together"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[SagaInstance]:
        return with_steps()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SagaInstance], search_term: str
    ) -> tuple[QuerySet[SagaInstance], bool]:
        """By the beginning of the key, as the index on it can, or by the whole id."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if saga_id := _uuid(term):
            return queryset.filter(pk=saga_id), False
        return beginning_with(queryset, "business_key", term), False

    def has_bulk_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(bulk.PERMISSION)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[SagaInstance], *args: Any, **options: Any
    ) -> HttpResponse | None:
        if not all(map(_uuid, request.POST.getlist(ACTION_CHECKBOX_NAME))):
            raise BadRequest("What is ticked is not a list of sagas.")
        return super().response_action(request, queryset, *args, **options)

    @admin.action(description="Retry them together…", permissions=["bulk"])
    def retry_together(self, request: HttpRequest, queryset: QuerySet[SagaInstance]) -> HttpResponse:
        """What was ticked, or all that the filters leave: as many as are retried together, the oldest first."""
        ids = list(queryset.order_by("id").values_list("pk", flat=True)[: bulk.MOST + 1])
        filters = ", ".join(f"{name} {value}" for name, value in request.GET.items() if value)
        everything = request.POST.get("select_across") == "1"
        chosen = f"all with {filters or 'any status'}" if everything else f"ticked by hand{filters and f', {filters}'}"
        return ask(request, ids, chosen)

    @admin.display(description="status")
    def state(self, saga: SagaInstance) -> SafeString:
        return badge(saga.status)

    @admin.display(description="about")
    def about(self, saga: SagaInstance) -> SafeString | str:
        url = subject_url(saga)
        return format_html('<a href="{}">{}</a>', url, saga.business_key) if url else saga.business_key

    @admin.display(description="age")
    def age(self, saga: SagaInstance) -> SafeString:
        took = f"took {span(saga.ended_at - saga.created_at)}" if saga.ended_at else ""
        return format_html(
            '<time datetime="{}" title="{}">{}</time> <span class="saga-quiet">{}</span>',
            saga.created_at.isoformat(),
            saga.created_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
            span(now() - saga.created_at),
            took,
        )

    @admin.display(description="what it does, or why it waits")
    def why(self, saga: SagaInstance) -> SafeString:
        attention = saga.attention if saga.attention and saga.attention not in waiting_words(saga) else ""
        needs = format_html(' <strong class="saga-attention">! {}</strong>', redact(attention)) if attention else ""
        return format_html('<span class="saga-why">{}</span>{}', redact(waiting_words(saga)), needs)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Sagas", **(extra_context or {})})

    # --- the page of one saga ---------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        name = "sagas_sagainstance"
        own = [
            path("<uuid:saga_id>/live/", wrap(self.live_view), name=f"{name}_live"),
            path("<uuid:saga_id>/export/", wrap(self.export_view), name=f"{name}_export"),
            *(
                path(
                    f"<uuid:saga_id>/{operation}/", wrap(self.operate_view), {"name": operation}, f"{name}_{operation}"
                )
                for operation in operations.PERMISSIONS
            ),
        ]
        return [*own, *super().get_urls()]

    @method_decorator(never_cache)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of one saga. It is read; people act through `operate_view`."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        page = self._page(request, _uuid(object_id))
        context = {
            **self.admin_site.each_context(request),
            "title": str(page.saga),
            "opts": self.opts,
            "page": page,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/sagas/sagainstance/page.html", context)

    @method_decorator(never_cache)
    @method_decorator(require_safe)
    def live_view(self, request: HttpRequest, saga_id: UUID) -> HttpResponse:
        """The page's inside, for the page that asks again while the saga moves.

        204 leaves it as it is when nothing is new since ``seen``; 286 ends the asking.
        """
        if self.has_view_permission(request) and is_at_version(saga_id, request.GET.get("seen", "")):
            return HttpResponse(status=204)
        page = self._page(request, saga_id)
        status = 200 if page.live else HTMX_STOP_POLLING
        return TemplateResponse(request, "admin/sagas/parts/saga.html", {"page": page, "announce": True}, status=status)

    @method_decorator(never_cache)
    @method_decorator(require_safe)
    def export_view(self, request: HttpRequest, saga_id: UUID) -> HttpResponse:
        """All of a saga as a JSON file, redacted: for a ticket, a colleague, a program."""
        page = self._page(request, saga_id)
        response = JsonResponse(export_of(page, request.user), json_dumps_params={"indent": 2})
        response["Content-Disposition"] = f'attachment; filename="saga-{page.saga.pk}.json"'
        return response

    @method_decorator(never_cache)
    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def operate_view(self, request: HttpRequest, saga_id: UUID, name: str) -> HttpResponse:
        if not self.has_view_permission(request):
            if request.method == "POST" and isinstance(request.user, User):
                denials.write_down(request.user, name, "You may not view sagas.", saga_id=saga_id)
            raise PermissionDenied
        return operate(request, self.admin_site, saga_id, name)

    def _page(self, request: HttpRequest, saga_id: UUID | None) -> SagaPage:
        if not self.has_view_permission(request):
            raise PermissionDenied
        saga = saga_for_page(saga_id) if saga_id else None
        if saga is None:
            raise Http404("There is no such saga.")
        return page_of(saga, request.user, whole=request.GET.get("history") == "whole")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
