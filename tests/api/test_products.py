from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from shop.models import Category, Product
from tests.api.conftest import add_product, fields_at_fault


def test_a_product_tells_its_price_and_how_many_there_are(api: APIClient, mug: Product) -> None:
    response = api.get("/api/v1/products/MUG-1/")

    assert response.status_code == 200
    assert response.json() == {
        "sku": "MUG-1",
        "name": "Mug",
        "description": "",
        "category": "kitchen",
        "price": {"amount": "19.99", "currency": "EUR"},
        "available": 10,
        "image": None,
    }


def test_a_product_without_stock_is_shown_as_not_available(api: APIClient, kitchen: Category) -> None:
    add_product("POT-1", stock=0, category=kitchen)

    assert api.get("/api/v1/products/POT-1/").json()["available"] == 0


def test_a_product_that_is_not_for_sale_is_not_there(api: APIClient, kitchen: Category) -> None:
    add_product("OLD-1", category=kitchen, is_active=False)

    response = api.get("/api/v1/products/OLD-1/")

    assert response.status_code == 404
    assert response.json()["type"] == "/problems/not-found"
    assert api.get("/api/v1/products/").json()["results"] == []


def test_pages_follow_each_other_without_gaps_and_repeats(api: APIClient, kitchen: Category) -> None:
    for number in range(7):
        add_product(f"CUP-{number}", category=kitchen, name="Cup" if number < 4 else f"Dish {number}")

    first = api.get("/api/v1/products/?page_size=3").json()
    second = api.get(first["next"]).json()
    third = api.get(second["next"]).json()

    seen = [product["sku"] for page in (first, second, third) for product in page["results"]]
    assert seen == [f"CUP-{number}" for number in range(7)]
    assert (first["previous"], third["next"]) == (None, None)
    assert api.get(third["previous"]).json()["results"] == second["results"]


def test_a_list_asks_as_many_questions_for_twenty_products_as_for_one(api: APIClient, kitchen: Category) -> None:
    add_product("CUP-0", category=kitchen)
    with CaptureQueriesContext(connection) as one:
        api.get("/api/v1/products/")
    for number in range(1, 20):
        add_product(f"CUP-{number}", category=kitchen)

    with CaptureQueriesContext(connection) as twenty:
        assert len(api.get("/api/v1/products/").json()["results"]) == 20

    assert (len(one), len(twenty)) == (2, 2)


def test_products_can_be_searched_and_filtered(api: APIClient, kitchen: Category) -> None:
    garden = Category.objects.create(name="Garden", slug="garden")
    add_product("MUG-1", category=kitchen, name="Blue mug")
    add_product("MUG-2", category=garden, name="Garden mug")
    add_product("POT-1", category=garden, name="Flower pot")

    def skus(query: str) -> list[str]:
        return [product["sku"] for product in api.get(f"/api/v1/products/?{query}").json()["results"]]

    assert skus("search=mug") == ["MUG-1", "MUG-2"]
    assert skus("search=mug&category=garden") == ["MUG-2"]
    assert skus("category=garden") == ["POT-1", "MUG-2"]
    assert skus("category=nothing") == []


def test_a_bad_question_names_the_parameter(api: APIClient, mug: Product) -> None:
    assert fields_at_fault(api.get("/api/v1/products/?page_size=0")) == ["page_size"]
    assert fields_at_fault(api.get("/api/v1/products/?page_size=101")) == ["page_size"]
    assert fields_at_fault(api.get("/api/v1/products/?page_size=ten")) == ["page_size"]
    assert fields_at_fault(api.get("/api/v1/products/?cursor=garbage!")) == ["cursor"]
    assert fields_at_fault(api.get("/api/v1/products/?cursor=cD0lMDA%3D")) == ["cursor"]  # p=NUL
    assert fields_at_fault(api.get(f"/api/v1/products/?search={'a' * 101}")) == ["search"]
    assert fields_at_fault(api.get("/api/v1/products/?category=a%20b")) == ["category"]
