"""How often a client may ask: counted in the database, so that no two processes miss each other's count."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

if TYPE_CHECKING:  # it imports this module: the settings name it
    from rest_framework.views import APIView

# One statement counts: looking first and writing later would let parallel requests through (which is what
# Django REST framework's throttles on a cache do). Minutes are fixed, not sliding: up to twice the limit can
# pass around the turn of a minute, and a row for each client is all that is kept.
_COUNT = """
    INSERT INTO config_requestcount AS counted (client, minute, count)
    VALUES (%s, extract(epoch FROM clock_timestamp())::bigint / 60, 1)
    ON CONFLICT (client) DO UPDATE SET
        count = CASE WHEN counted.minute = excluded.minute THEN counted.count + 1 ELSE 1 END,
        minute = excluded.minute
    RETURNING count, 60 - extract(epoch FROM clock_timestamp())::bigint %% 60
"""
# Whoever opens a minute of their own sweeps a few rows of clients that went away.
_SWEEP = """
    DELETE FROM config_requestcount WHERE client = ANY(ARRAY(
        SELECT client FROM config_requestcount
        WHERE minute < extract(epoch FROM clock_timestamp())::bigint / 60 - 60
        LIMIT 20 FOR UPDATE SKIP LOCKED
    ))
"""


class DatabaseThrottle(BaseThrottle):
    """Limits a view's ``throttle_scopes`` (method to scope) to ``API_REQUESTS_PER_MINUTE[scope]`` for each client.

    A client is a user, or for guests the address of the connection; one IPv6 network of 64 bits is one client.
    ``X-Forwarded-For`` is never read: anybody can write it. Behind a proxy, let the proxy set the address.
    """

    def __init__(self) -> None:
        self._wait = 0

    def allow_request(self, request: Request, view: APIView) -> bool:
        scope = getattr(view, "throttle_scopes", {}).get(request.method)
        if scope is None:
            return True
        with connection.cursor() as cursor:
            cursor.execute(_COUNT, [f"{scope} {_client(request)}"])
            count, self._wait = cursor.fetchone()
            if count == 1:
                cursor.execute(_SWEEP)
        return bool(count <= settings.API_REQUESTS_PER_MINUTE[scope])

    def wait(self) -> float:
        return self._wait


def _client(request: Request) -> str:
    if request.user.is_authenticated:
        return f"user:{request.user.pk}"
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return f"ip:{ip_network((int(address) >> 64 << 64, 64))}"
    return f"ip:{getattr(address, 'ipv4_mapped', None) or address}"
