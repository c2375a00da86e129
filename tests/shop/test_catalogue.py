import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from shop.models import Category, Product
from shop.selectors import search_products
from shop.templatetags.shop import picture
from tests.shop.shopping import add_product


def shown(client: Client, address: str) -> list[str]:
    return [product.sku for product, _ in client.get(address).context["products"]]


def test_the_shop_shows_what_is_for_sale_by_name(client: Client, mug: Product, kettle: Product) -> None:
    add_product("HIDDEN", category=mug.category, is_active=False)

    assert shown(client, "/") == ["KETTLE", "MUG"]


def test_a_shelf_shows_its_own_products(client: Client, mug: Product) -> None:
    desk = Category.objects.create(name="Desk", slug="desk")
    add_product("PEN", category=desk)

    assert shown(client, "/category/desk/") == ["PEN"]
    assert client.get("/category/no-such/").status_code == 404


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("kettle", ["KETTLE"]),
        ("ket", ["KETTLE"]),
        ("KETTLES", ["KETTLE"]),
        ("whistles", ["KETTLE"]),
        ("whistling steel", ["KETTLE"]),
        ("whistling mug", []),
        ("nothing", []),
        ("", ["KETTLE", "MUG"]),
        ("!!! & | ' :*", ["KETTLE", "MUG"]),
        ("\x00", ["KETTLE", "MUG"]),
        ("x" * 5000, []),
    ],
)
def test_a_search_finds_words_and_their_beginnings(
    client: Client, mug: Product, kettle: Product, words: str, found: list[str]
) -> None:
    Product.objects.filter(sku="KETTLE").update(description="Steel. It whistles.")

    response = client.get("/search/", {"q": words})

    assert response.status_code == 200
    assert [product.sku for product, _ in response.context["products"]] == found


def test_a_search_is_shown_as_text_not_as_markup(client: Client, mug: Product) -> None:
    page = client.get("/search/", {"q": "<script>alert(1)</script>"}).content.decode()

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_search_uses_its_index(kitchen: Category) -> None:
    values = {"category": kitchen, "price_amount": 1, "weight_grams": 1}
    Product.objects.bulk_create(
        Product(sku=f"P{n}", slug=f"p{n}", name=f"Plate number {n}", **values) for n in range(2000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE shop_product")

    assert "Bitmap Index Scan on product_search" in search_products("1234").explain()


@pytest.mark.parametrize(
    ("page", "count"), [("1", 12), ("2", 1), ("99", 1), ("0", 1), ("-1", 1), ("abc", 12), ("", 12)]
)
def test_pages_have_twelve_products_and_a_wrong_page_is_no_error(
    client: Client, kitchen: Category, page: str, count: int
) -> None:
    for number in range(13):
        add_product(f"P{number:02}", category=kitchen)

    assert len(shown(client, f"/?page={page}")) == count


def test_the_pages_of_a_search_keep_its_words(client: Client, kitchen: Category) -> None:
    for number in range(13):
        add_product(f"P{number:02}", category=kitchen, name=f"Plate {number}")

    assert 'href="?q=plate&amp;page=2"' in client.get("/search/?q=plate").content.decode()


def test_a_list_of_products_costs_the_same_for_one_as_for_twelve(client: Client, mug: Product) -> None:
    with CaptureQueriesContext(
        connection,
    ) as for_one:
        client.get("/")
    for number in range(11):
        add_product(f"P{number:02}", category=mug.category)
    with CaptureQueriesContext(connection) as for_twelve:
        client.get("/")

    # How many, the page, its stock, the shelves.
    assert (len(for_one), len(for_twelve)) == (4, 4)


def test_a_product_tells_its_price_and_whether_it_is_there(client: Client, mug: Product, kettle: Product) -> None:
    add_product("GONE", category=mug.category, stock=0, price=129900)

    pages = {slug: client.get(f"/product/{slug}/").content.decode() for slug in ("mug", "kettle", "gone")}

    assert "€19.99" in pages["mug"]
    assert "In stock" in pages["mug"]
    assert "Only 3 left" in pages["kettle"]
    assert "€1,299.00" in pages["gone"]
    assert "Sold out" in pages["gone"].partition("related")[0]
    assert "Put in the cart" not in pages["gone"]


def test_a_product_off_sale_has_no_page(client: Client, mug: Product) -> None:
    Product.objects.update(is_active=False)

    assert client.get("/product/mug/").status_code == 404
    assert client.post("/cart/add/mug/", {"quantity": 1}).status_code == 404


def test_a_picture_that_is_not_there_does_not_break_the_page(
    client: Client, mug: Product, settings: Any, tmp_path: Path
) -> None:
    manifest = {"version": "1.1", "hash": "", "paths": {"shop/no-picture.svg": "shop/no-picture.1234.svg"}}
    (tmp_path / "staticfiles.json").write_text(json.dumps(manifest))
    settings.STATIC_ROOT = tmp_path
    backend = {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": backend}
    mug.image = "shop/products/typo.svg"

    assert picture(mug) == "/static/shop/no-picture.1234.svg"
