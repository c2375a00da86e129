"""A page that fetches parts of itself does not show the login form in the place of one."""

import pytest
from django.http import HttpResponseRedirect
from django.test import Client, RequestFactory
from django.urls import reverse

from config.fragments import whole_page_logs_in

PART = {"HX-Request": "true"}


def test_a_part_asks_for_the_whole_page_when_nobody_is_logged_in_any_more(client: Client):
    url = "/admin/sagas/"

    part, page = client.get(url, headers=PART), client.get(url)

    assert (part.status_code, part.headers.get("HX-Refresh"), part.content) == (200, "true", b"")
    assert page.headers["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize("location", ["/basket/", "https://elsewhere.example/admin/orders/"])
def test_other_redirects_of_parts_are_followed(location: str):
    answer = whole_page_logs_in(lambda request: HttpResponseRedirect(location))

    assert answer(RequestFactory().get("/", headers=PART)).headers["Location"] == location


def test_customers_log_in_again_as_well():
    answer = whole_page_logs_in(lambda request: HttpResponseRedirect(reverse("shop:login") + "?next=/orders/"))

    assert answer(RequestFactory().get("/", headers=PART)).headers["HX-Refresh"] == "true"
    assert answer(RequestFactory().get("/")).headers["Location"].startswith(reverse("shop:login"))
