"""A NUL in an address of the admin is answered and never reaches PostgreSQL."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db


def _lists() -> Iterator[tuple[str, list[str]]]:
    """Every list of the admin, with all that its address can be asked."""
    for model, page in admin.site._registry.items():
        names = [getattr(named, "parameter_name", None) or str(named) for named in _filters(page)]
        hierarchy = [f"{page.date_hierarchy}__year"] if page.date_hierarchy else []
        yield f"admin:{model._meta.app_label}_{model._meta.model_name}", [SEARCH_VAR, "pk", *names, *hierarchy]


def _filters(page: Any) -> Iterator[Any]:
    for declared in page.list_filter:
        yield declared[0] if isinstance(declared, tuple | list) else declared


def test_every_list_refuses_a_nul_in_its_search_and_in_each_filter(admin_client: Client):
    asked = [(name, parameter) for name, parameters in _lists() for parameter in parameters]

    answers = {
        (name, parameter): admin_client.get(reverse(f"{name}_changelist"), {parameter: "a\0b"}).status_code
        for name, parameter in asked
    }

    assert len(asked) > 90
    assert {of: status for of, status in answers.items() if status != 400} == {}


@pytest.mark.parametrize(
    "address",
    [
        "/admin/sagas/periodicjob/%00/change/",
        "/admin/sagas/outboxevent/flow/?subject=%00",
        "/admin/sagas/sagainstance/?%00=1",
    ],
)
def test_so_does_every_other_page(admin_client: Client, address: str):
    assert admin_client.get(address).status_code == 400


def test_what_only_looks_like_one_is_searched_for(admin_client: Client):
    assert admin_client.get("/admin/sagas/sagainstance/?q=%2500").status_code == 200
