"""Tokens: how a client program logs in, and what a wrong one gets."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings
from knox.models import AuthToken
from rest_framework.test import APIClient

from tests.api.conftest import fields_at_fault

PASSWORD = "correct horse battery"


@pytest.fixture
def ada(ada: User) -> User:
    """Ada with a password."""
    ada.set_password(PASSWORD)
    ada.save()
    return ada


def log_in(api: APIClient, username: str = "ada@example.org", password: str = PASSWORD) -> object:
    return api.post("/api/v1/auth/login/", {"username": username, "password": password}, format="json")


def test_a_password_gets_a_token_that_works_until_it_is_ended(api: APIClient, ada: User) -> None:
    token = log_in(api).json()["token"]  # type: ignore[attr-defined]
    credentials = {"Authorization": f"Token {token}"}

    out = api.post("/api/v1/auth/logout/", headers=credentials)
    again = api.post("/api/v1/auth/logout/", headers=credentials)

    assert out.status_code == 204
    assert (again.status_code, again.json()["type"]) == (401, "/problems/authentication-failed")
    assert again.headers["WWW-Authenticate"] == "Token"


def test_the_token_is_stored_as_a_digest_only(api: APIClient, ada: User) -> None:
    token = log_in(api).json()["token"]  # type: ignore[attr-defined]

    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(t)::text FROM knox_authtoken t")
        [(row,)] = cursor.fetchall()
    assert token not in row


@pytest.mark.parametrize(("username", "password"), [("ada@example.org", "wrong"), ("nobody@example.org", PASSWORD)])
def test_a_wrong_name_and_a_wrong_password_are_the_same_answer(
    api: APIClient, ada: User, username: str, password: str
) -> None:
    response = log_in(api, username, password)

    assert (response.status_code, response.json()["type"]) == (401, "/problems/login-failed")  # type: ignore[attr-defined]
    assert not AuthToken.objects.exists()


@override_settings(API_REQUESTS_PER_MINUTE={"login": 1_000, "orders": 1_000})
def test_too_many_failures_lock_the_name_for_a_while(api: APIClient, ada: User) -> None:
    for _ in range(10):
        log_in(api, password="wrong")

    response = log_in(api)

    assert (response.status_code, response.json()["type"]) == (401, "/problems/login-failed")  # type: ignore[attr-defined]
    assert not AuthToken.objects.exists()


def test_missing_credentials_are_named(api: APIClient, db: None) -> None:
    assert fields_at_fault(api.post("/api/v1/auth/login/", {}, format="json")) == ["username", "password"]


def test_an_order_with_a_token_that_is_not_good_is_refused_not_taken_as_a_guest_s(api: APIClient, db: None) -> None:
    response = api.post("/api/v1/orders/", {}, format="json", headers={"Authorization": "Token 0123456789"})

    assert (response.status_code, response.json()["type"]) == (401, "/problems/authentication-failed")


@pytest.mark.parametrize("header", ["Token", "Token a b", "Token \xe9", "Token " + "x" * 5000])
def test_a_broken_token_is_a_401(api: APIClient, db: None, header: str) -> None:
    assert api.post("/api/v1/auth/logout/", headers={"Authorization": header}).status_code == 401
