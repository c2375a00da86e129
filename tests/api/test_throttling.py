"""Limits: counted for each client in the database, for real at the same time, and not fooled by a header."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import override_settings
from rest_framework.test import APIClient

from config.models import RequestCount
from shop.models import Product
from tests.api.conftest import place

three_a_minute = override_settings(API_REQUESTS_PER_MINUTE={"orders": 3, "login": 3})


@pytest.fixture(autouse=True)
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests stay within one minute: a fixed one instead of the clock's."""
    from config import throttling

    fixed = throttling._COUNT.replace("extract(epoch FROM clock_timestamp())::bigint / 60", str(int(time.time() // 60)))
    assert fixed != throttling._COUNT
    monkeypatch.setattr(throttling, "_COUNT", fixed)


@three_a_minute
def test_the_fourth_order_in_a_minute_has_to_wait(api: APIClient, mug: Product) -> None:
    assert [place(api).status_code for _ in range(3)] == [202, 202, 202]

    response = place(api)

    assert (response.status_code, response.json()["type"]) == (429, "/problems/too-many-requests")
    assert 1 <= int(response.headers["Retry-After"]) <= 60


@three_a_minute
def test_clients_are_counted_apart(api: APIClient, mug: Product, ada: User) -> None:
    for _ in range(4):
        place(api)

    api.force_authenticate(ada)
    as_ada = place(api)
    elsewhere = place(APIClient(REMOTE_ADDR="203.0.113.9"))

    assert (as_ada.status_code, elsewhere.status_code) == (202, 202)


@three_a_minute
def test_a_header_does_not_make_another_client(api: APIClient, mug: Product) -> None:
    statuses = [place(api, **{"X-Forwarded-For": f"203.0.113.{number}"}).status_code for number in range(4)]

    assert statuses == [202, 202, 202, 429]


@three_a_minute
def test_a_whole_ipv6_network_is_one_client(mug: Product) -> None:
    statuses = [place(APIClient(REMOTE_ADDR=f"2001:db8:1:2::{number}")).status_code for number in range(1, 5)]

    assert statuses == [202, 202, 202, 429]
    assert RequestCount.objects.get().client == "orders ip:2001:db8:1:2::/64"


@three_a_minute
def test_logins_are_limited_whoever_is_named(api: APIClient, db: None) -> None:
    def log_in(name: str) -> int:
        body = {"username": name, "password": "guess"}
        return int(api.post("/api/v1/auth/login/", body, format="json").status_code)

    assert [log_in(f"user{number}") for number in range(4)] == [401, 401, 401, 429]


@pytest.mark.django_db(transaction=True)
@override_settings(API_REQUESTS_PER_MINUTE={"orders": 5, "login": 5})
def test_twenty_at_once_do_not_slip_past_the_limit() -> None:
    together = threading.Barrier(20)

    def order(_: int) -> Any:
        together.wait(timeout=30)
        try:
            return place(APIClient(), {}).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(order, range(20)))

    assert statuses == [400] * 5 + [429] * 15
