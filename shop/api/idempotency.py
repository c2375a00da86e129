"""Answering a request once, however often it is sent (the IETF draft "The Idempotency-Key HTTP Header Field").

The key's row is stored in the commit that does the work. So there is no moment at which the work is done and
the key is not known, and a refused request leaves no key behind: the client may mend it and use the key again.
"""

import hashlib
import json
import re
from collections.abc import Callable

from django.db import OperationalError, transaction
from psycopg.errors import LockNotAvailable
from rest_framework.request import Request

from shop.api.exceptions import (
    IdempotencyKeyInUse,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
)
from shop.models import IdempotencyKey

_FORMAT = re.compile(r"[\x21-\x7e]{16,128}")


def answer_once(request: Request, work: Callable[[IdempotencyKey], None]) -> tuple[IdempotencyKey, bool]:
    """Do ``work`` once for the key of ``request``; it puts its answer on the row. Tells whether it was a replay.

    Two at the same time: the second waits for the first, which the unique constraint makes it do, and gets its
    answer. When that takes longer than the database's lock_timeout, `IdempotencyKeyInUse`.
    Raises `IdempotencyKeyReused` when the key came before with another body, and whatever ``work`` raises,
    after which nothing is stored.
    """
    key = _key_of(request)
    fingerprint = _digest(json.dumps(request.data, sort_keys=True, separators=(",", ":")))
    with transaction.atomic():
        row, is_new = _claim(request, key, fingerprint)
        if not is_new and row.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        if is_new:
            work(row)
            row.save(update_fields=["response_status", "response_body", "order"])
    return row, not is_new


def _claim(request: Request, key: str, fingerprint: str) -> tuple[IdempotencyKey, bool]:
    try:
        return IdempotencyKey.objects.select_related("order").get_or_create(
            caller=_caller(request),
            operation=f"{request.method} {request.path}",
            key=_digest(key),
            defaults={"fingerprint": fingerprint},
        )
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise IdempotencyKeyInUse from error
        raise


def _key_of(request: Request) -> str:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        raise IdempotencyKeyMissing
    if not _FORMAT.fullmatch(key):
        raise IdempotencyKeyInvalid
    return key


def _caller(request: Request) -> str:
    return f"user:{request.user.pk}" if request.user.is_authenticated else "guest"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
