"""The API does what its OpenAPI document says: asked at random, rightly and wrongly."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import Permission, User
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, settings
from knox.models import AuthToken
from rest_framework.test import APIClient
from schemathesis.specs.openapi.checks import positive_data_acceptance

from inventory.selectors import stock_violations
from sagas import operations
from sagas.models import SagaInstance
from shop.models import Category, IdempotencyKey, Order
from shop.selectors import CHECKOUTS
from tests.api.conftest import add_product, place


def document() -> dict[str, Any]:
    generated: dict[str, Any] = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return generated


def described() -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, said) for path, methods in document()["paths"].items() for method, said in methods.items()]


def test_every_operation_says_what_it_does_and_what_can_go_wrong() -> None:
    for path, method, said in described():
        where = f"{method} {path}"
        assert said["summary"], where
        assert said["description"], where
        assert {"500", "503"} <= set(said["responses"]), where
        if "requestBody" in said:
            assert said["requestBody"]["content"]["application/json"]["examples"], where
            assert {"400", "413", "415"} <= set(said["responses"]), where
        for status, response in said["responses"].items():
            kinds = set(response.get("content", {}))
            assert kinds <= ({"application/problem+json"} if int(status) >= 400 else {"application/json"}), where
    names = {said["operationId"] for _, _, said in described()}
    assert {"list_products", "place_order", "get_order", "list_sagas", "resolve_saga", "log_in"} <= names


def test_the_document_and_its_page_are_served(client: Client, db: None) -> None:
    schema = client.get("/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    page = client.get("/api/docs/")

    assert schema.json()["paths"].keys() == document()["paths"].keys()
    assert page.status_code == 200
    assert "'unsafe-inline'" in page.headers["Content-Security-Policy"].partition("style-src")[2].partition(";")[0]
    assert "<script>" not in page.text
    assert "//cdn." not in page.text
    assert "'unsafe-inline'" not in schema.headers["Content-Security-Policy"]


def with_examples(said: dict[str, Any], real: dict[str, str]) -> dict[str, Any]:
    """The document with things that are there as examples, so that not every answer is a 404."""
    for methods in said["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] in real:
                    parameter["example"] = real[parameter["name"]]
    return said


@pytest.fixture
def served(live_server: Any, transactional_db: None, settings: Any) -> Iterator[Any]:
    """The document with a shop behind it, whose books have to balance afterwards."""
    settings.API_REQUESTS_PER_MINUTE = {"orders": 100_000, "login": 100_000}
    add_product("MUG-1", category=Category.objects.create(name="Kitchen", slug="kitchen"))
    placed = place(APIClient()).json()
    real = {
        "sku": "MUG-1",
        "number": placed["number"],
        "saga_id": placed["saga"],
        "X-Order-Token": placed["access_token"],
    }
    schema = schemathesis.openapi.from_dict(with_examples(document(), real))
    schema.config.update(base_url=live_server.url)
    yield schema
    assert stock_violations() == []
    checkouts = SagaInstance.objects.filter(definition__in=CHECKOUTS.values())
    assert Order.objects.count() == IdempotencyKey.objects.count() == checkouts.count()


@pytest.fixture
def served_to_an_operator(served: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    # No worker runs here: waiting for what comes of an operation would be in vain.
    monkeypatch.setattr(operations, "follow", lambda done, seconds, follow=operations.follow: follow(done, seconds=0))
    user = User.objects.create_user("grace@example.org", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="sagas"))
    served.config.update(headers={"Authorization": f"Token {AuthToken.objects.create(user=user)[1]}"})
    return served


for_everybody = schemathesis.pytest.from_fixture("served").exclude(path_regex="/sagas/")
for_operators = schemathesis.pytest.from_fixture("served_to_an_operator").include(path_regex="/sagas/")
at_random = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@for_everybody.parametrize()
@at_random
def test_what_everybody_may_ask_keeps_to_the_document(case: Any) -> None:
    # A random body has the right shape and still names products that nobody sells: a 422 is right then.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])


@for_operators.parametrize()
@at_random
def test_what_operators_may_ask_keeps_to_the_document(case: Any) -> None:
    case.call_and_validate(excluded_checks=[positive_data_acceptance])
