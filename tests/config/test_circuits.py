"""The page of the circuits in the admin."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from circuit_breaker import CircuitBreaker

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def open_bank(settings: object) -> Iterator[None]:
    settings.CIRCUIT_BREAKER_FAILURES = 1  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError), CircuitBreaker("bank").call():
        raise RuntimeError("down")
    yield
    CircuitBreaker("bank").reset()


def client_with(*permissions: str) -> Client:
    user = User.objects.create_user("ada", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def test_an_open_circuit_is_shown_and_can_be_closed_by_who_may_retry():
    client = client_with("view_sagainstance", "retry_saga")

    page = client.get("/admin/circuits/").content.decode()
    assert "open" in page
    assert "Close it now" in page
    answer = client.post("/admin/circuits/bank/close/", follow=True)

    assert "The circuit to the bank is closed" in answer.content.decode()
    assert CircuitBreaker("bank").state().state == "closed"


@pytest.mark.parametrize(
    ("permissions", "page", "close"), [((), 403, 403), (("view_sagainstance",), 200, 403)], ids=["staff", "viewer"]
)
def test_who_may_not_close_it_does_not(permissions: tuple[str, ...], page: int, close: int):
    client = client_with(*permissions)

    assert client.get("/admin/circuits/").status_code == page
    assert client.post("/admin/circuits/bank/close/").status_code == close
    assert CircuitBreaker("bank").state().state == "open"


def test_a_get_closes_nothing_and_a_stranger_is_sent_to_the_login():
    assert client_with("view_sagainstance", "retry_saga").get("/admin/circuits/bank/close/").status_code == 405
    assert Client().get("/admin/circuits/").status_code == 302
    assert Client().post("/admin/circuits/bank/close/").status_code == 302
    assert CircuitBreaker("bank").state().state == "open"
