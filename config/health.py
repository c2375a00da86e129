"""Is this process alive, and may it be sent requests? For load balancers and `manage.py up`."""

from functools import cache

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers. It asks nobody: a restart would not cure a database."""
    return JsonResponse({"status": "alive"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when requests can be served, else 503.

    Redis is reported and does not count: the queue is a hint, and orders are taken without it.
    """
    database = database_state()
    is_ready = database == "ok"
    body = {"status": "ready" if is_ready else "not ready", "database": database, "redis": redis_state()}
    return JsonResponse(body, status=200 if is_ready else 503)


def database_state() -> str:
    try:
        applied = MigrationRecorder(connection).applied_migrations()
    except DatabaseError:
        return "unreachable"
    return "migrations pending" if migrations_of_this_code() - applied.keys() else "ok"


@cache
def migrations_of_this_code() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)


def redis_state() -> str:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=0.2, socket_timeout=0.2) as client:
            client.ping()
    except redis.RedisError:
        return "unreachable"
    return "ok"
