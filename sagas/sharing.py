"""Several sagas in one transaction, one after the other: what one raises takes back what it wrote, and nothing else.

Each has its turn in a savepoint of its own, as the holder of its locks if it has any. The statements that say
so go along with the first statement of the turn: by themselves they would take as long as a step. One saga alone
needs no savepoint: what it wrote goes with the transaction, and before its first statement there is nothing to take
back. What goes along says for whom it acts, or takes it up.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, Self, TypeVar
from uuid import UUID

import psycopg
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.postgresql.base import CursorMixin
from psycopg.pq import TransactionStatus

R = TypeVar("R")

# Others share the transaction: wait for nobody for long, who may be waiting for one of them.
_BE_QUICK = "SET LOCAL lock_timeout = '20ms'"

# What `sagas_take_up_again` raises.
_GONE = "SG001"


class Opening(NamedTuple):
    """What opens a turn. What differs is a parameter, so that the driver parses few texts.

    ``takes_up``: it has to be said even if the turn itself says nothing.
    """

    statements: tuple[str, ...] = ()
    parameters: tuple[Any, ...] = ()
    takes_up: bool = False


def acting_for(holder: UUID | None) -> Opening:
    """What is written until the next one is what this saga writes: see `sagas_refuse_unless_holder`.

    None is any saga that holds nothing.
    """
    return Opening(("SET LOCAL sagas.holder = %s",), (str(holder or ""),))


class Gone(Exception):
    """Somebody else is at the saga, or has moved it on: the transaction has to be rolled back."""


class Sharing:
    """Turns in the transaction at hand. While it lasts, the connection makes its cursors with this.

    One saga ``alone`` comes with what opens its only turn.
    """

    def __init__(self, alone: Opening | None = None) -> None:
        # Not the proxy, which looks for its connection at each use.
        self._connection = connections[DEFAULT_DB_ALIAS]
        self._driver: psycopg.Connection[Any] = self._connection.connection
        self._cursor_factory = self._driver.cursor_factory
        self._server_cursor_factory = self._driver.server_cursor_factory
        self._savepoint = ""
        # What was said last of who acts, by a turn that was not taken back.
        self._acting: Opening | None = None
        self._alone = alone
        # Whether what a turn wrote could not be taken back: the transaction is of no use any more.
        self.spoiled = False
        # Whether the saga could not be taken up by what opens its turn.
        self.gone = False
        # What has to be said before anything else is.
        self.unsaid: Opening | None = None

    def __enter__(self) -> Self:
        here, driver = self._connection, self._driver
        # It may be whatever makes cursors.
        driver.cursor_factory = self  # type: ignore[assignment]
        driver.server_cursor_factory = partial(self._opened, driver.server_cursor_factory)  # type: ignore[assignment]
        driver.transaction = partial(self._opened, driver.transaction)  # type: ignore[method-assign]
        # Django makes a server-side cursor without asking the factory.
        here.chunked_cursor = partial(self._opened, here.chunked_cursor)  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.cursor_factory = self._cursor_factory
        self._driver.server_cursor_factory = self._server_cursor_factory
        del self._driver.transaction
        del self._connection.chunked_cursor

    @property
    def alone(self) -> bool:
        return self._alone is not None

    def _opened(self, make: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """For what sends statements that nothing can go along with."""
        self.say()
        return make(*args, **kwargs)

    def __call__(self, driver: psycopg.Connection[Any], **options: Any) -> "_TurnCursor":
        return _TurnCursor(self, driver, **options)

    def act(self, holder: UUID | None, turn: Callable[[], R]) -> R:
        """What ``turn`` returns, acting for a saga. What it raises takes back what it wrote.

        Raises `Gone` if the saga could not be taken up by what opens the turn, whatever the turn made of that.
        """
        try:
            return self._act(acting_for(holder), turn)
        finally:
            if self.gone:
                raise Gone

    def _act(self, acting: Opening, turn: Callable[[], R]) -> R:
        here = self._connection
        callbacks = len(here.run_on_commit)
        # Not the name of the one before: going back to a savepoint that was never set fails, and takes no other.
        savepoint = "odd_turn" if self._savepoint != "odd_turn" else "even_turn"
        self.unsaid = self._opening(savepoint, acting)
        try:
            done = turn()
        except Exception:
            # The step may have asked for a rollback; here it is.
            here.needs_rollback = False
            if self.unsaid is None:
                self._take_back(savepoint)
            del here.run_on_commit[callbacks:]
            raise
        else:
            if self.unsaid is None:
                self._acting = acting
            return done
        finally:
            if self.unsaid is None:
                self._savepoint = savepoint
            elif self.unsaid.takes_up:
                # Where it leads is written next.
                self.say()
            self.unsaid = None

    def _opening(self, savepoint: str, acting: Opening) -> Opening:
        if self._alone is not None:
            return self._alone
        before = f"RELEASE SAVEPOINT {self._savepoint}" if self._savepoint else _BE_QUICK
        within = Opening() if acting == self._acting else acting
        return Opening((before, f"SAVEPOINT {savepoint}", *within.statements), within.parameters)

    def _take_back(self, savepoint: str) -> None:
        if not self.alone:
            # It was never set if what it went along with was refused as a whole.
            with suppress(Error):
                self._execute(f"ROLLBACK TO SAVEPOINT {savepoint}")
        self.spoiled = self.alone or self._driver.info.transaction_status is not TransactionStatus.INTRANS

    def say(self) -> None:
        """Say what is still unsaid by itself, before what it cannot go along with."""
        if self.unsaid is not None:
            opening, self.unsaid = self.unsaid, None
            self._execute("; ".join(opening.statements), opening.parameters)

    def _execute(self, statement: str, parameters: tuple[Any, ...] = ()) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)


class _TurnCursor(CursorMixin, psycopg.ClientCursor[Any]):
    """Django's cursor; the first statement of a turn brings along what opens the turn."""

    def __init__(self, sharing: Sharing, driver: psycopg.Connection[Any], **options: Any) -> None:
        self._sharing = sharing
        super().__init__(driver, **options)

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        if not isinstance(query, str) or isinstance(params, Mapping):
            self._sharing.say()
        if self._sharing.unsaid is None:
            return self._execute(query, params, **options)
        opening, self._sharing.unsaid = self._sharing.unsaid, None
        if params is None:
            query, params = query.replace("%", "%%"), ()
        self._execute("; ".join((*opening.statements, query)), (*opening.parameters, *params), **options)
        self.set_result(len(opening.statements))
        return self

    def _execute(self, query: Any, params: Any, **options: Any) -> Self:
        try:
            return super().execute(query, params, **options)
        except psycopg.DatabaseError as error:
            self._sharing.gone |= error.sqlstate == _GONE
            raise

    def executemany(self, query: Any, params_seq: Iterable[Any], **options: Any) -> None:
        self._sharing.say()
        super().executemany(query, params_seq, **options)

    def stream(self, query: Any, params: Any = None, **options: Any) -> Iterator[Any]:
        self._sharing.say()
        return super().stream(query, params, **options)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[psycopg.Copy]:
        self._sharing.say()
        with super().copy(statement, params, **options) as copy:
            yield copy


def say_what_is_unsaid(driver: psycopg.Connection[Any]) -> None:
    """For cursors that are not made by the connection: open the turn at hand, if there is one that is not open."""
    sharing = driver.cursor_factory
    if isinstance(sharing, Sharing):
        sharing.say()
