"""Many sagas retried together: the page that asks, the page that follows, and the list of what was done."""

from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HTMX_STOP_POLLING

from sagas import bulk as bulk_retries
from sagas.admin.forms import MAX_REASON
from sagas.admin.readonly import ReadOnlyAdmin
from sagas.admin.words import moment
from sagas.models import SagaInstance
from sagas.operator_models import BulkItem, BulkRetry

# How many sagas of each kind the page lists.
LISTED = 50


class BulkForm(forms.Form):
    """What the page that asks sends. ``bulk`` makes a double click one."""

    bulk = forms.UUIDField(widget=forms.HiddenInput)
    sagas = forms.CharField(widget=forms.HiddenInput)
    chosen = forms.CharField(max_length=300, widget=forms.HiddenInput)
    reason = forms.CharField(
        max_length=MAX_REASON,
        widget=forms.Textarea({"rows": 3, "required": True}),
        label="Why",
        help_text="Kept with each saga, with your name. What makes you think that it works now?",
    )

    def clean_sagas(self) -> list[UUID]:
        try:
            return [UUID(saga_id) for saga_id in self.cleaned_data["sagas"].split(",")]
        except ValueError as error:
            raise forms.ValidationError("This is not a list of sagas; choose them again.") from error


def ask(request: HttpRequest, saga_ids: list[UUID], chosen: str) -> HttpResponse:
    """The page that asks before sagas are retried together."""
    bulk_retries.require(request.user, "start")  # type: ignore[arg-type]
    kept = saga_ids[: bulk_retries.MOST]
    form = BulkForm(initial={"bulk": uuid4(), "sagas": ",".join(pk.hex for pk in kept), "chosen": chosen})
    return _asking(request, form, len(kept), more=len(saga_ids) > len(kept))


def _asking(request: HttpRequest, form: BulkForm, count: int, *, more: bool = False, status: int = 200) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Retry together",
        "form": form,
        "count": count,
        "more": more,
        "most": bulk_retries.MOST,
        "chosen": form["chosen"].value(),
        "waves": bulk_retries.WAVES,
    }
    return TemplateResponse(request, "admin/sagas/bulkretry/ask.html", context, status=status)


@admin.register(BulkRetry)
class BulkRetryAdmin(ReadOnlyAdmin):
    list_display = ["begun", "chosen", "actor", "reason", "state", "why"]
    list_select_related = ["actor"]
    list_per_page = 50
    ordering = ["-started_at", "-id"]

    @admin.display(description="started (UTC)")
    def begun(self, bulk: BulkRetry) -> SafeString | str:
        return moment(bulk.started_at)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("start/", wrap(self.start_view), name="sagas_bulkretry_start"),
            path("<uuid:bulk_id>/live/", wrap(self.live_view), name="sagas_bulkretry_live"),
            path("<uuid:bulk_id>/stop/", wrap(self.stop_view), name="sagas_bulkretry_stop"),
        ]
        return [*own, *super().get_urls()]

    @method_decorator(require_POST)
    def start_view(self, request: HttpRequest) -> HttpResponse:
        bulk_retries.require(request.user, "start")  # type: ignore[arg-type]
        form = BulkForm(request.POST)
        if not form.is_valid():
            return _asking(request, form, len(request.POST.get("sagas", "").split(",")), status=400)
        said = form.cleaned_data
        try:
            bulk = bulk_retries.start(
                said["bulk"],
                request.user,  # type: ignore[arg-type]
                said["reason"],
                said["sagas"],
                chosen=said["chosen"],
            )
        except ValueError as error:
            form.add_error(None, str(error))
            return _asking(request, form, len(said["sagas"]), status=400)
        return redirect("admin:sagas_bulkretry_change", bulk.pk)

    @method_decorator(require_POST)
    def stop_view(self, request: HttpRequest, bulk_id: UUID) -> HttpResponse:
        bulk_retries.stop(bulk_id, request.user)  # type: ignore[arg-type]
        messages.info(request, "No further saga is retried. Those that run already are still watched.")
        return redirect("admin:sagas_bulkretry_change", bulk_id)

    @method_decorator(never_cache)
    @method_decorator(require_safe)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        bulk = self._bulk(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Retried together: {bulk.chosen}",
            "opts": self.opts,
            "media": self.media,
            **_standing(request, bulk),
        }
        return TemplateResponse(request, "admin/sagas/bulkretry/page.html", context)

    @method_decorator(never_cache)
    @method_decorator(require_safe)
    def live_view(self, request: HttpRequest, bulk_id: UUID) -> HttpResponse:
        """The page's inside, for the page that asks again while it runs; 286 ends the asking."""
        bulk = self._bulk(request, str(bulk_id))
        status = 200 if bulk.ended_at is None else HTMX_STOP_POLLING
        return TemplateResponse(request, "admin/sagas/bulkretry/standing.html", _standing(request, bulk), status=status)

    def _bulk(self, request: HttpRequest, object_id: str) -> BulkRetry:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            bulk = BulkRetry.objects.select_related("actor").filter(pk=UUID(object_id)).first()
        except ValueError:
            bulk = None
        if bulk is None:
            raise Http404("There is no such bulk retry.")
        return bulk


def _standing(request: HttpRequest, bulk: BulkRetry) -> dict[str, Any]:
    """Where it stands, with the first sagas of each kind; those that failed first."""
    stand = bulk_retries.counts(bulk)
    order = (BulkItem.State.SAME, BulkItem.State.OTHER, BulkItem.State.REFUSED, BulkItem.State.RUNNING)
    groups = []
    for state in (*order, BulkItem.State.RECOVERED):
        items = bulk.items.filter(state=state).select_related("saga").order_by("id")[:LISTED] if stand[state] else ()
        groups.append((state, state.label.capitalize(), stand[state], [_line(item) for item in items]))
    total = sum(stand.values())
    return {
        "bulk": bulk,
        "groups": groups,
        "total": total,
        "queued": stand[BulkItem.State.QUEUED],
        "settled": total - stand[BulkItem.State.QUEUED] - stand[BulkItem.State.RUNNING],
        "listed": LISTED,
        "started": moment(bulk.started_at),
        "ended": moment(bulk.ended_at),
        "may_stop": bulk.state == BulkRetry.State.RUNNING and request.user.has_perm(bulk_retries.PERMISSION),
    }


def _line(item: BulkItem) -> tuple[SafeString | str, int, str]:
    return (_link(item.saga) if item.saga else "purged since", item.wave, item.said)


def _link(saga: SagaInstance) -> SafeString:
    url = reverse("admin:sagas_sagainstance_change", args=[saga.pk])
    return format_html('<a href="{}">{}</a>', url, str(saga))
