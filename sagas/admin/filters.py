"""The filters of the saga list. Each has an index for its question."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.timezone import now

from sagas.admin.selectors import sagas_that_failed_with
from sagas.definition import registry
from sagas.models import SagaInstance
from sagas.states import LIVE, SagaStatus

Sagas = QuerySet[SagaInstance]


class ForAPerson(admin.SimpleListFilter):
    """What does not get on by itself."""

    title = "needs a person"
    parameter_name = "person"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes")]

    def queryset(self, request: HttpRequest, queryset: Sagas) -> Sagas:
        if self.value() == "yes":
            # Spelled as in the partial index `saga_for_a_person`.
            return queryset.filter(~Q(attention="") | Q(status=SagaStatus.SUSPENDED))
        return queryset


class Status(admin.SimpleListFilter):
    """One status, or all that are not an end."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("LIVE", "Live (any)"), *((status.value, status.capitalize()) for status in SagaStatus)]

    def queryset(self, request: HttpRequest, queryset: Sagas) -> Sagas:
        chosen = self.value()
        if chosen == "LIVE":
            return queryset.filter(status__in=sorted(LIVE))
        return queryset.filter(status=chosen) if chosen else queryset


class Definition(admin.SimpleListFilter):
    """The definitions that the running code knows: asking the table would read all of it."""

    title = "definition"
    parameter_name = "definition"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted({name for name, _ in registry})]

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: Sagas) -> Sagas:
        return queryset.filter(definition=self.value()) if self.value() else queryset


class SameFailure(admin.SimpleListFilter):
    """Sagas in which something failed in one way; asked for by a link, as from the dashboard."""

    title = "failure"
    parameter_name = "fingerprint"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get(self.parameter_name)
        return [(chosen, f"Failed as {chosen}")] if chosen else []

    def queryset(self, request: HttpRequest, queryset: Sagas) -> Sagas:
        chosen = self.value()
        return queryset.filter(pk__in=sagas_that_failed_with(chosen)) if chosen else queryset


class Started(admin.SimpleListFilter):
    """When a saga was started, read from its id: version 7 begins with the milliseconds since 1970."""

    title = "started"
    parameter_name = "started"
    _ranges: dict[str, tuple[str, Callable[[Sagas], Sagas]]] = {
        "hour": ("In the last hour", lambda sagas: sagas.filter(id__gte=_first_id(timedelta(hours=1)))),
        "day": ("In the last 24 hours", lambda sagas: sagas.filter(id__gte=_first_id(timedelta(days=1)))),
        "week": ("In the last 7 days", lambda sagas: sagas.filter(id__gte=_first_id(timedelta(days=7)))),
        "older": ("Longer ago", lambda sagas: sagas.filter(id__lt=_first_id(timedelta(days=7)))),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, words) for value, (words, _) in self._ranges.items()]

    def queryset(self, request: HttpRequest, queryset: Sagas) -> Sagas:
        chosen = self.value()
        return self._ranges[chosen][1](queryset) if chosen in self._ranges else queryset


def _first_id(ago: timedelta) -> UUID:
    return UUID(int=int((now() - ago).timestamp() * 1000) << 80)
