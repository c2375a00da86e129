"""What the commands of a terminal share: who acts, which saga is meant, and how it is shown."""

import json
import sys
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.management.base import CommandError, OutputWrapper
from django.core.serializers.json import DjangoJSONEncoder
from django.db import OperationalError
from psycopg.errors import LockNotAvailable

from sagas.models import SagaInstance
from sagas.operating import BUSY
from sagas.redaction import redact
from sagas.selectors import waiting_words, with_steps


def actor_named(username: str | None) -> User:
    """The person in whose name something is done: permissions and the audit are theirs."""
    if not username:
        raise CommandError("Say who you are: --actor USERNAME.")
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise CommandError(f"There is no active user {username!r}.")
    return user


def saga_meant(text: str, definition: str | None) -> SagaInstance:
    """A saga by its id, or by its business key where only one has it."""
    try:
        found = list(with_steps().filter(pk=UUID(text)))
    except ValueError:
        named = with_steps().filter(business_key=text)
        found = list((named.filter(definition=definition) if definition else named)[:20])
    if not found:
        raise CommandError(f"There is no saga {text!r}.")
    if len(found) > 1:
        which = ", ".join(saga.definition for saga in found)
        raise CommandError(f"{text!r} is the key of {len(found)} sagas ({which}): say which with --definition.")
    return found[0]


def line_of(saga: SagaInstance) -> str:
    words = redact(saga.attention or waiting_words(saga))
    return f"{saga.pk}  {saga.status:<12}  {saga.definition:<22}  {saga.business_key:<16}  {words}"


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, cls=DjangoJSONEncoder)


class Progress:
    """A bar on standard error, where a person looks; nothing where none does, or where JSON is wanted."""

    WIDTH = 30

    def __init__(self, out: OutputWrapper, *, quiet: bool) -> None:
        self._out, self._quiet = out, quiet or not sys.stderr.isatty()

    def show(self, done: int, of: int | None, words: str = "") -> None:
        if self._quiet:
            return
        if of:
            full = min(self.WIDTH * done // of, self.WIDTH)
            words = f"[{'#' * full}{'.' * (self.WIDTH - full)}] {done}/{of} {words}"
        else:
            words = f"{done} {words}"
        self._out.write(f"\r{words:<100}", ending="")
        self._out.flush()

    def end(self) -> None:
        if not self._quiet:
            self._out.write("")


def why_no_answer(error: OperationalError) -> str:
    """For whoever asked the database and got no answer: what to do about it, and its words on one line."""
    busy = isinstance(error.__cause__, LockNotAvailable)
    its_words = redact(str(error)).partition("\n")[0]
    return f"{BUSY if busy else 'The database cannot be asked now.'} ({its_words})"
