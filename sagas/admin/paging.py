"""Pages of a long list without counting all of it."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator

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
