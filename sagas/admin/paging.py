"""Pages of a long list without counting all of it."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db.models import F, QuerySet
from django.db.models.expressions import OrderBy

# django-stubs makes the class generic for the type checker only.
if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator


class BoundedPaginator(AnyPaginator):
    """Counts up to ``bound`` rows and no further; ``more`` says that the list goes on behind them."""

    bound = 1_000

    @cached_property
    def _found(self) -> int:
        found: int = self.object_list[: self.bound + 1].count()  # type: ignore[attr-defined]
        return found

    @cached_property
    def count(self) -> int:
        return min(self._found, self.bound)

    @property
    def more(self) -> bool:
        return self._found > self.bound


class _AsItsPatternIndex(OrderBy):
    """The order of an index with a ``pattern_ops`` class, which is what finds beginnings in every locale.

    Django insists on the word ASC behind an expression.
    """

    template = "%(expression)s USING ~<~ /* ASC */"


def beginning_with(rows: QuerySet[Any], column: str, term: str) -> QuerySet[Any]:
    """The rows whose ``column`` begins with ``term``, as typed or in capitals; of many, as many as a list counts.

    A short beginning fits most of a table. In the order of the index the first are found without reading the
    rest; to sort them as the list does, or to look for them in its order, all would be read.
    """
    most = BoundedPaginator.bound + 1
    found = {
        pk
        for beginning in {term, term.upper()}
        for pk in rows.filter(**{f"{column}__startswith": beginning})
        .order_by(_AsItsPatternIndex(F(column)))
        .values_list("pk", flat=True)[:most]
    }
    return rows.filter(pk__in=found)
