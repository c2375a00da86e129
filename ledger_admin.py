"""The admin page of a table that people read and only services write."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from sagas.admin.paging import BoundedPaginator

# django-stubs makes these classes generic for the type checker only.
if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    ModelAdmin = admin.ModelAdmin
    TabularInline = admin.TabularInline


class LedgerAdmin(ModelAdmin):
    """Nothing is added, changed or deleted by hand, and no list is read to its end.

    In ``search_fields`` a field is compared with ``__exact``: what the admin writes as ``=`` ignores case,
    which no index on the field serves.
    """

    actions = None
    list_max_show_all = 0
    ordering = ("-id",)
    paginator = BoundedPaginator
    show_facets = admin.ShowFacets.NEVER  # they would count the whole table once for each choice
    show_full_result_count = False
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class LedgerInline(TabularInline):
    """The lines of such a row."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
