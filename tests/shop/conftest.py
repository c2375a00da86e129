"""A small shop and people in it."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from shop.models import Category, Product
from tests.sandbox.processes import bank, bank_process, carrier, carrier_process
from tests.shop.shopping import add_product

__all__ = ["bank", "bank_process", "carrier", "carrier_process"]


@pytest.fixture(autouse=True)
def _demonstration(settings: Any) -> None:
    """Test cards on the checkout's page."""
    settings.SANDBOX = True


@pytest.fixture
def kitchen(db: None) -> Category:
    return Category.objects.create(name="Kitchen", slug="kitchen")


@pytest.fixture
def mug(kitchen: Category) -> Product:
    return add_product("MUG", stock=10, price=1999, category=kitchen)


@pytest.fixture
def kettle(kitchen: Category) -> Product:
    return add_product("KETTLE", stock=3, price=5900, category=kitchen)


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada@example.org", "ada@example.org", "a quiet pass phrase")


@pytest.fixture
def grace(db: None) -> User:
    return User.objects.create_user("grace@example.org", "grace@example.org", "another pass phrase")


@pytest.fixture
def as_ada(ada: User) -> Client:
    client = Client()
    client.force_login(ada)
    return client
