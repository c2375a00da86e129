"""Events, flows and dead letters for operators."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from sagas.admin.filters import ForAPerson
from sagas.admin.flow_page import flow_url, page_of_flow
from sagas.admin.readonly import ReadOnlyAdmin
from sagas.admin.words import badge, moment
from sagas.choreography.flows import flows
from sagas.choreography.models import DeadLetter, FlowRun, OutboxEvent
from sagas.choreography.selectors import MOST_EVENTS
from sagas.choreography.subscriptions import subscriptions
from sagas.models import SagaInstance
from sagas.operations import PERMISSIONS
from sagas.redaction import redact
from sagas.selectors import waiting_words, with_steps
from sagas.states import SagaStatus


class _SeenWithSagas(ReadOnlyAdmin):
    """Whoever may see sagas may see these; they have no page of their own."""

    list_display_links = None
    list_per_page = 50
    ordering = ["-id"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = str(self.opts.verbose_name_plural).capitalize()
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and request.user.has_perm("sagas.view_sagainstance")


class _Undelivered(admin.SimpleListFilter):
    title = "not carried yet"
    parameter_name = "due"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
        return queryset.filter(due_at__isnull=False) if self.value() == "yes" else queryset


class _Type(admin.SimpleListFilter):
    """The events that this code knows: asking the table would read all of it."""

    title = "event"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        known = {name for flow in flows for name in flow.types}
        known |= {name for subscription in subscriptions.values() for name in subscription.types}
        return [(name, name) for name in sorted(known)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> QuerySet[OutboxEvent]:
        return queryset.filter(type=self.value()) if self.value() else queryset


@admin.register(OutboxEvent)
class OutboxEventAdmin(_SeenWithSagas):
    list_display = ["type", "about", "told", "state"]
    list_filter = [_Undelivered, _Type]
    search_fields = ["subject__exact"]
    search_help_text = "What it is about, as an order number."

    @admin.display(description="about")
    def about(self, event: OutboxEvent) -> SafeString:
        return format_html('<a href="{}">{}</a>', flow_url(event.subject), event.subject)

    @admin.display(description="told at (UTC)")
    def told(self, event: OutboxEvent) -> SafeString | str:
        return moment(event.time)

    @admin.display(description="carried")
    def state(self, event: OutboxEvent) -> SafeString | str:
        if event.due_at is None:
            return badge("DONE")
        return format_html("{} {}", badge("WAITING"), redact(event.error))

    # --- the page of one flow -------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        own = [path("flow/", self.admin_site.admin_view(self.flow_view), name="sagas_outboxevent_flow")]
        return [*own, *super().get_urls()]

    @method_decorator(never_cache)
    @method_decorator(require_safe)
    def flow_view(self, request: HttpRequest) -> HttpResponse:
        """Everything that happened about one subject, and where it stands."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        page = page_of_flow(request.GET.get("subject", ""))
        if page.trace.saga is None and not page.rows:
            raise Http404("Nothing was told about this.")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Flow {page.trace.subject}",
            "opts": self.opts,
            "page": page,
            "most": MOST_EVENTS,
        }
        return TemplateResponse(request, "admin/sagas/outboxevent/flow.html", context)


@admin.register(FlowRun)
class FlowRunAdmin(_SeenWithSagas):
    list_display = ["about", "definition", "state", "began", "why"]
    list_filter = [ForAPerson]
    search_fields = ["business_key__exact"]
    search_help_text = "What the flow is about, as an order number."

    def get_queryset(self, request: HttpRequest) -> QuerySet[SagaInstance]:
        return with_steps().filter(definition__in=[flow.name for flow in flows])

    @admin.display(description="about")
    def about(self, run: SagaInstance) -> SafeString:
        return format_html('<a href="{}">{}</a>', flow_url(run.business_key), run.business_key)

    @admin.display(description="status")
    def state(self, run: SagaInstance) -> SafeString:
        return badge(run.status)

    @admin.display(description="began (UTC)")
    def began(self, run: SagaInstance) -> SafeString | str:
        return moment(run.created_at)

    @admin.display(description="where it stands")
    def why(self, run: SagaInstance) -> SafeString | str:
        return redact(f"{run.attention}. {waiting_words(run)}" if run.attention else waiting_words(run))


@admin.register(DeadLetter)
class DeadLetterAdmin(_SeenWithSagas):
    """What stands still. To retry and to discard are the operations of sagas: permission, reason, audit."""

    list_display = ["handler", "about", "kind", "why", "ways_out"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[SagaInstance]:
        return with_steps().filter(status=SagaStatus.SUSPENDED, definition__in=list(subscriptions))

    @admin.display(description="handler")
    def handler(self, letter: SagaInstance) -> SafeString:
        url = reverse("admin:sagas_sagainstance_change", args=[letter.pk])
        return format_html('<a href="{}">{}</a>', url, letter.definition)

    @admin.display(description="about")
    def about(self, letter: SagaInstance) -> SafeString:
        subject = letter.data["subject"]
        return format_html('<a href="{}">{}</a>', flow_url(subject), subject)

    @admin.display(description="event")
    def kind(self, letter: SagaInstance) -> str:
        return str(letter.data["type"])

    @admin.display(description="why")
    def why(self, letter: SagaInstance) -> str:
        return redact(waiting_words(letter))

    @admin.display(description="operate")
    def ways_out(self, letter: SagaInstance) -> SafeString:
        """Retry is tried again; discard lets the next event of this subject through."""
        retry, discard = (
            reverse(f"admin:sagas_sagainstance_{name}", args=[letter.pk]) for name in ("retry", "abandon")
        )
        return format_html('<a href="{}">Retry…</a> <a href="{}">Discard…</a>', retry, discard)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """The ways out only for those who may go one of them."""
        may = any(request.user.has_perm(PERMISSIONS[name]) for name in ("retry", "abandon"))
        return [name for name in self.list_display if may or name != "ways_out"]
