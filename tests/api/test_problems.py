"""Whatever goes wrong below /api/ is a problem document; pages keep their HTML."""

import logging
from time import sleep
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from rest_framework.test import APIClient

from config import problems
from config.problem_pages import problem_kinds
from shop.models import Product
from tests.api.conftest import fields_at_fault, place


def request_for(path: str) -> HttpRequest:
    """A request as the middleware leaves it, with its session and user."""
    request: HttpRequest = Client().get(path).wsgi_request
    return request


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("path", ["/api/", "/api/v1/nothing/", "/api/v1/products", "/api/v2/products/", "/api/v1/../x"])
def test_an_unknown_address_is_a_problem_document(api: APIClient, db: None, path: str, debug: bool) -> None:
    with override_settings(DEBUG=debug):
        responses = [api.get(path), api.post(path, {}, format="json"), api.delete(path)]

    for response in responses:
        assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")
        assert fields_at_fault(response) == []


def test_a_method_that_is_not_allowed_says_which_are(api: APIClient, mug: Product) -> None:
    response = api.delete("/api/v1/products/MUG-1/")

    assert (response.status_code, response.json()["type"]) == (405, "/problems/method-not-allowed")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_a_page_that_is_not_there_is_html(client: Client, db: None) -> None:
    response = client.get("/nothing-here/")

    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


def test_a_mistake_of_ours_tells_an_id_and_not_what_happened(
    mug: Product, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise ZeroDivisionError("secret-in-the-message")

    monkeypatch.setattr("shop.api.orders.place_order", fail)

    with caplog.at_level(logging.ERROR):
        response = place(APIClient(raise_request_exception=False))

    document = response.json()
    assert response.status_code == 500
    assert document["type"] == "/problems/internal-error"
    assert "secret" not in response.text
    assert "ZeroDivision" not in response.text
    [record] = [record for record in caplog.records if record.name == "api"]
    assert document["correlation_id"] in record.getMessage()
    assert record.exc_info is not None


def test_a_database_that_does_not_answer_is_a_503(
    api: APIClient, mug: Product, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise OperationalError("connection refused at 10.1.2.3")

    monkeypatch.setattr("shop.api.orders.place_order", fail)

    response = place(api)

    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")
    assert response.headers["Retry-After"] == "5"
    assert "10.1.2.3" not in response.text
    [record] = [record for record in caplog.records if record.name == "api"]
    assert record.exc_info is not None, "which query it was stays in the dark"


@pytest.mark.django_db(transaction=True)
def test_a_session_that_the_database_ended_is_a_503(
    api: APIClient, mug: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def freeze(**_: Any) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
            sleep(0.4)
            cursor.execute("SELECT 1")

    monkeypatch.setattr("shop.api.orders.place_order", freeze)

    response = place(api)

    assert (response.status_code, response.json()["type"]) == (503, "/problems/unavailable")
    assert response.headers["Retry-After"] == "5"


def test_another_internal_error_of_the_database_is_a_mistake_of_ours(
    mug: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE SQLSTATE 'XX001' USING MESSAGE = 'torn page'; END $$")

    monkeypatch.setattr("shop.api.orders.place_order", fail)

    response = place(APIClient(raise_request_exception=False))

    assert (response.status_code, response.json()["type"]) == (500, "/problems/internal-error")


@pytest.mark.parametrize(
    ("handler", "error", "status"),
    [
        (problems.bad_request, SuspiciousOperation("host"), 400),
        (problems.permission_denied, PermissionDenied(), 403),
        (problems.page_not_found, Exception(), 404),
    ],
)
def test_django_s_own_refusals_are_problems_below_api_and_pages_elsewhere(
    handler: Any, error: Exception, status: int, db: None
) -> None:
    below, elsewhere = (handler(request_for(path), error) for path in ("/api/v1/orders/", "/somewhere/"))

    assert (below.status_code, below.headers["Content-Type"]) == (status, "application/problem+json")
    assert (elsewhere.status_code, elsewhere.headers["Content-Type"]) == (status, "text/html; charset=utf-8")


def test_an_error_around_an_api_view_is_a_problem_too(db: None) -> None:
    response = problems.server_error(request_for("/api/v1/orders/"))

    assert (response.status_code, response.headers["Content-Type"]) == (500, "application/problem+json")


def test_every_type_of_problem_has_a_page_that_explains_it(client: Client, db: None) -> None:
    listed = client.get("/problems/").text
    kinds = problem_kinds()

    assert {"out-of-stock", "invalid-request", "idempotency-key-reused", "too-large", "not-found"} <= set(kinds)
    assert "error" not in kinds  # the type of a class that only others are made of
    for slug in kinds:
        page = client.get(f"/problems/{slug}")
        assert page.status_code == 200
        assert f'id="{slug}"' in page.text
    assert listed.count("<section") == len(kinds)
    assert client.get("/problems/no-such-type").status_code == 404


def test_a_lock_out_keeps_the_api_s_answer_and_is_a_page_elsewhere(db: None) -> None:
    api_answer = HttpResponse(status=401)

    def answer(path: str) -> Any:
        return problems.locked_out(request_for(path), api_answer, None)

    assert answer("/api/v1/auth/login/") is api_answer
    assert answer("/login/").status_code == 429
