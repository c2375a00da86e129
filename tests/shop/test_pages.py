"""What every page keeps: the strict content policy, one heading, a name for every field."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client

from shop.models import Product
from tests.shop.shopping import place, put_in_cart

TEMPLATES = sorted((Path(settings.BASE_DIR) / "templates" / "shop").rglob("*.html")) + sorted(
    (Path(settings.BASE_DIR) / "templates" / "registration").rglob("*.html")
)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_inline_style_or_script(template: Path) -> None:
    text = template.read_text(encoding="utf-8")

    assert not re.search(r"<style|<script|\sstyle=|\son[a-z]+=|hx-on|javascript:|\|safe(?!ty)", text) or (
        template.name == "field.html"  # Django's own help texts are lists
    )


def pages(client: Client, mug: Product, ada: User) -> dict[str, str]:
    put_in_cart(client, mug)
    order = place(("MUG", 1), user=ada)
    guest = ("/", "/category/kitchen/", "/search/?q=mug", "/product/mug/", "/account/login/", "/account/sign-up/")
    found = {address: client.get(address) for address in (*guest, "/cart/", "/checkout/", "/nothing-here/")}
    client.force_login(ada)
    found |= {address: client.get(address) for address in ("/orders/", order.get_absolute_url(), "/account/password/")}
    return {address: response.content.decode() for address, response in found.items()}


def test_every_page_has_one_heading_a_title_and_landmarks(client: Client, mug: Product, ada: User) -> None:
    for address, page in pages(client, mug, ada).items():
        assert page.count("<h1") == 1, address
        assert page.count("<main") == page.count('class="site-header"') == page.count("<footer") == 1, address
        assert re.search(r"<title>\s*\S[^<]*· Saga shop</title>", page), address
        assert '<html lang="en">' in page, address


def test_every_field_has_a_label_and_every_id_is_there_once(client: Client, mug: Product, ada: User) -> None:
    for address, page in pages(client, mug, ada).items():
        ids = re.findall(r'\sid="([^"]+)"', page)
        assert len(ids) == len(set(ids)), address
        for tag in re.findall(r"<(?:input|select|textarea)\b[^>]*>", page):
            if 'type="hidden"' not in tag:
                name = re.search(r'\sid="([^"]+)"', tag)
                assert name, (address, tag)
                assert f'for="{name[1]}"' in page, (address, tag)


def test_pages_forbid_what_is_not_ours(client: Client, mug: Product) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]

    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_carts_and_orders_are_not_kept_by_caches(client: Client, mug: Product, ada: User) -> None:
    put_in_cart(client, mug)
    client.force_login(ada)
    order = place(("MUG", 1), user=ada)

    for address in ("/cart/", "/checkout/", "/orders/", f"/orders/{order.number}/", f"/orders/{order.number}/status/"):
        assert "no-store" in client.get(address).headers["Cache-Control"], address


@pytest.mark.parametrize(
    ("error", "status", "wait", "words"),
    [
        (OperationalError("connection refused at 10.1.2.3"), 503, "5", "We cannot answer right now"),
        (RuntimeError("wrong at 10.1.2.3"), 500, None, "Something broke on our side"),
    ],
)
@pytest.mark.parametrize("address", ["/", "/product/mug/", "/nowhere/"])
def test_a_page_without_a_database_says_whether_to_come_back(
    mug: Product, address: str, error: Exception, status: int, wait: str | None, words: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    with connection.execute_wrapper(fail):
        response = Client(raise_request_exception=False).get(address)

    assert (response.status_code, response.headers.get("Retry-After")) == (status, wait)
    assert words in response.text
    assert "10.1.2.3" not in response.text


@pytest.mark.parametrize("address", ["/", "/product/mug/", "/cart/", "/admin/"])
def test_also_where_errors_are_shown_nobody_is_shown_one_of_a_database_that_is_away(
    mug: Product, client: Client, ada: User, settings: Any, address: str
) -> None:
    settings.DEBUG = True
    client.force_login(ada)

    def away(*_: object) -> None:
        raise OperationalError("connection refused at 10.1.2.3")

    with connection.execute_wrapper(away):
        response = client.get(address)

    assert response.status_code == 503
    assert "10.1.2.3" not in response.text


@pytest.mark.parametrize("path", ["/orders/%00/", "/orders/%00/status/", "/orders/S-1/open/%00/", "/orders/%ff%fe/"])
def test_an_address_that_no_order_can_have_is_not_found(client: Client, db: None, path: str) -> None:
    assert client.get(path).status_code == 404
