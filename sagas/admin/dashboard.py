"""The dashboard: what needs a person, how things go, and whether those who drive the sagas are there.

Reads only. The filters are in the address, so that what somebody sees can be sent to somebody else.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from sagas.admin import figures
from sagas.admin.charts import Rates, StepLine, rates_of, share, step_lines
from sagas.admin.health import Health, health
from sagas.admin.links import subject_url
from sagas.admin.words import badge, moment, span
from sagas.definition import registry
from sagas.models import SagaInstance, SemanticLock
from sagas.redaction import redact
from sagas.selectors import waiting_words
from sagas.states import LIVE, SagaStatus

PERIODS = {
    "15m": ("15 minutes", timedelta(minutes=15)),
    "1h": ("hour", timedelta(hours=1)),
    "24h": ("24 hours", timedelta(days=1)),
    "7d": ("7 days", timedelta(days=7)),
}
USUAL = "1h"
SECONDS = 5
# Of the oldest so many the first few are shown, the worst before the others.
LOOKED_AT = 200
SHOWN = 10


class Filters(forms.Form):
    """What of all sagas is shown, and of which time."""

    definition = forms.ChoiceField(required=False, label="Definition")
    period = forms.ChoiceField(
        required=False, label="In the last", choices=[(key, words) for key, (words, _) in PERIODS.items()]
    )
    refresh = forms.ChoiceField(
        required=False, label="Refresh", choices=[("", f"every {SECONDS} s"), ("no", "not by itself")]
    )
    charts = forms.ChoiceField(
        required=False, label="Chart", choices=[("", "as a picture"), ("numbers", "and in numbers")]
    )

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        names = sorted({name for name, _ in registry})
        self.fields["definition"].choices = [("", "all"), *((name, name) for name in names)]  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class SagaLine:
    saga: SagaInstance
    status: Any
    since: Any
    why: str
    url: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Everything the page shows."""

    health: list[Health]
    for_a_person: list[SagaLine]
    more_for_a_person: bool
    live: list[tuple[str, Any, int]]
    live_cut: bool
    window: figures.Window
    period: str
    rates: list[tuple[str, str, str]]
    chart: Rates
    failures: list[tuple[figures.FailureGroup, Any, Any, Any]]
    waiting: list[SagaLine]
    locks: list[tuple[SemanticLock, Any]]
    steps: list[StepLine]


@never_cache
@require_safe
def dashboard_page(request: HttpRequest) -> HttpResponse:
    """For staff who may see sagas. Asked for by the page itself, it answers with the page's inside."""
    if not request.user.has_perm("sagas.view_sagainstance"):
        raise PermissionDenied("You may not see sagas.")
    asked = Filters({"period": USUAL, **request.GET.dict()})
    is_valid = asked.is_valid()
    shown = dashboard_of(asked.cleaned_data.get("definition", ""), asked.cleaned_data.get("period") or USUAL)
    context = {
        "title": "Dashboard",
        "dashboard": shown,
        "asked": asked,
        "definition": asked.cleaned_data.get("definition", ""),
        "most": {"live": figures.MOST_LIVE, "attempts": figures.MOST_ATTEMPTS, "failures": figures.MOST_FAILURES},
        "numbers": asked.cleaned_data.get("charts"),
        "seconds": 0 if asked.cleaned_data.get("refresh") else SECONDS,
    }
    status = 200 if is_valid else 400
    if request.headers.get("HX-Request"):
        return TemplateResponse(request, "admin/sagas/dashboard/inside.html", context, status=status)
    tables = [table for app in admin.site.get_app_list(request, "sagas") for table in app["models"]]
    context |= {**admin.site.each_context(request), "tables": tables}
    return TemplateResponse(request, "admin/sagas/dashboard/page.html", context, status=status)


def dashboard_of(definition: str, period: str) -> Dashboard:
    """The page's content. A fixed number of queries."""
    words, length = PERIODS[period]
    window = figures.window(length, definition)
    ended = figures.ended_in(window)
    live, live_cut = figures.live_counts(definition)
    for_a_person = list(_about(definition).filter(~Q(attention="") | Q(status=SagaStatus.SUSPENDED))[:LOOKED_AT])
    for_a_person.sort(key=lambda saga: saga.status != SagaStatus.SUSPENDED)
    under_way = _about(definition).filter(status__in=sorted(LIVE))[:LOOKED_AT]
    waiting = [saga for saga in under_way if saga.status != SagaStatus.SUSPENDED]
    shown = for_a_person[:SHOWN], waiting[:SHOWN]
    prefetch_related_objects([*shown[0], *shown[1]], "steps")
    return Dashboard(
        health=health(),
        for_a_person=[_saga_line(saga) for saga in shown[0]],
        more_for_a_person=len(for_a_person) > SHOWN,
        live=[(status, badge(status), count) for status, count in live.items()],
        live_cut=live_cut,
        window=window,
        period=words,
        rates=_rates(ended, window),
        chart=rates_of(ended, window),
        failures=[
            (group, badge(group.outcome), moment(group.first_at), moment(group.last_at))
            for group in figures.failures_in(window)
        ],
        waiting=[_saga_line(saga) for saga in shown[1]],
        locks=_oldest_locks(),
        steps=step_lines(figures.steps_in(window)),
    )


def _about(definition: str) -> Any:
    """The oldest first."""
    sagas = SagaInstance.objects.order_by("id")
    return sagas.filter(definition=definition) if definition else sagas


def _saga_line(saga: SagaInstance) -> SagaLine:
    why = waiting_words(saga)
    if saga.attention and saga.attention not in why:
        why = f"{saga.attention.rstrip('.')}. {why}"
    return SagaLine(saga, badge(saga.status), moment(saga.created_at), redact(why), subject_url(saga))


def _rates(ended: figures.Ended, window: figures.Window) -> list[tuple[str, str, str]]:
    """Each with what it counts."""
    minutes = max(window.length.total_seconds() / 60, 1 / 60)
    total = ended.total()
    took = f"{span(ended.median)}, {span(ended.slow)}" if ended.median is not None and ended.slow is not None else "–"
    return [
        ("Started", f"{sum(ended.started) / minutes:.1f} a minute", _sagas(sum(ended.started))),
        ("Ended", f"{total / minutes:.1f} a minute", _sagas(total)),
        ("Failed", share(ended.total("COMPENSATED", "ABANDONED"), total), "of those that ended did not complete"),
        ("Compensated", share(ended.total("COMPENSATED"), total), "of those that ended were undone"),
        ("Took", took, "half of them at most, and 95 of 100"),
    ]


def _sagas(count: int) -> str:
    return f"{count} saga{pluralize(count)}"


def _oldest_locks() -> list[tuple[SemanticLock, Any]]:
    """Locks are numbered as they are taken; one that was handed over keeps its number and is younger."""
    held = SemanticLock.objects.filter(saga__isnull=False).select_related("saga").order_by("id")[:LOOKED_AT]
    return [(lock, moment(lock.taken_at)) for lock in sorted(held, key=lambda lock: lock.taken_at)[:SHOWN]]
