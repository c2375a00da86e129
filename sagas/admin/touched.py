"""The rows of other apps that a saga is about, as they are now.

An app says how its rows are found, in its own `admin` module: `register_rows(Payment, payment_rows)`.
The engine knows none of them. It asks each for the references that a saga's key and data name.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Model

from sagas.models import SagaInstance
from sagas.roles import view_permission

MAX_REFERENCES = 10
MAX_ROWS = 10


@dataclass(frozen=True, slots=True)
class BusinessRow:
    """One row: its name with the page of it, the state it is in, and what else an operator asks first."""

    name: str
    url: str
    state: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Touched:
    """The rows of one table; ``hidden`` for a person who may not see them."""

    what: str
    rows: tuple[BusinessRow, ...] = ()
    hidden: bool = False


Find = Callable[[list[str]], Iterable[BusinessRow]]

_registered: dict[type[Model], Find] = {}


def register_rows(model: type[Model], find: Find) -> None:
    """Say how the rows of ``model`` are found: ``find(references)``, by an index, in a query or two.

    Not every reference names a row of it. Shown to people who may view the model.
    """
    _registered[model] = find


def touched_by(saga: SagaInstance, user: AbstractBaseUser | AnonymousUser) -> list[Touched]:
    """What each registered table has of a saga now; tables without any are left out.

    The apps that come last are the ones the business is told in: their rows come first.
    """
    references = references_of(saga)
    found = []
    for model, find in reversed(_registered.items()):
        what = str(model._meta.verbose_name)
        if rows := tuple(find(references))[:MAX_ROWS]:
            may_see = user.has_perm(view_permission(model))  # type: ignore[union-attr]
            found.append(Touched(what, rows) if may_see else Touched(what, hidden=True))
    return found


def references_of(saga: SagaInstance) -> list[str]:
    """The key of a saga, and every text and number in its data: among them are the rows that it is about."""
    data = saga.data if isinstance(saga.data, dict) else {}
    named = [str(value) for value in data.values() if isinstance(value, str | int) and not isinstance(value, bool)]
    return list(dict.fromkeys([saga.business_key, *(name for name in named if 0 < len(name) <= 200)]))[:MAX_REFERENCES]
