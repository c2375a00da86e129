"""What is shown before a person confirms, and many retried together, in a browser: by keyboard, and as axe reads it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connections
from django.urls import reverse
from playwright.sync_api import Page, expect

from sagas import bulk
from sagas.driver import drain_due
from sagas.operator_models import BulkRetry
from tests.sagas.operators import bank, bank_is_itself_again, propose, staff, start_trip, trip, url
from tests.sagas.test_admin_browser import complaints, page

__all__ = ["bank_is_itself_again", "complaints", "page"]


@contextmanager
def workers_and_sweeper() -> Iterator[None]:
    """Somebody drives the sagas, and the bulk retries."""
    over = threading.Event()

    def work() -> None:
        try:
            while not over.is_set():
                bulk.drive_bulk_retries()
                drain_due(seconds=1)
                over.wait(0.02)
        finally:
            connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join(timeout=30)


def test_turning_back_is_looked_at_and_confirmed_by_keyboard_alone(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagas.admin.operating.FOLLOW_SECONDS", 30)
    saga = trip("lost")
    page.goto(url("change", saga))
    page.locator("#offer-compensate").focus()
    page.keyboard.press("Enter")
    way_back = page.get_by_role("list", name="What it would undo, in this order").get_by_role("listitem")
    expect(way_back).to_have_count(2)
    expect(way_back.nth(0)).to_contain_text(f"Calls bank, with the key {saga.pk}:pay:compensation")

    page.get_by_label("Why").focus()
    page.keyboard.type("the customer called")
    page.keyboard.press("Tab")
    with workers_and_sweeper():
        page.keyboard.press("Enter")
        expect(page.locator(".messagelist")).to_contain_text("Every effect is undone.")

    assert bank.paid_back == [f"{saga.pk}:pay:compensation"]


def test_ticked_sagas_are_retried_together_by_keyboard_and_followed_live(page: Page) -> None:
    bank.answer = "down"
    for number in range(3):
        start_trip(f"t{number}")
    drain_due()
    bank.answer = "yes"
    page.goto(reverse("admin:sagas_sagainstance_changelist"))
    page.locator("#action-toggle").focus()
    page.keyboard.press("Space")
    page.get_by_label("Action:").select_option("retry_together")
    page.get_by_role("button", name="Go", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Retry 3 sagas together")).to_be_visible()

    page.get_by_label("Why").focus()
    page.keyboard.type("the bank is up again")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "0")
    with workers_and_sweeper():
        expect(page.get_by_role("heading", name="Recovered: 3")).to_be_visible()

    expect(page.get_by_role("status")).to_contain_text("Done. 3 of 3 have come back")
    assert BulkRetry.objects.get().state == "DONE"


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1360, "dark")])
def test_axe_finds_nothing_in_what_is_shown_before_and_after(
    page: Page, complaints: list[str], width: int, scheme: Any
) -> None:
    bank.answer = "down"
    down = [start_trip(f"t{number}") for number in range(2)]
    drain_due()
    lost = trip("lost", "lost")
    propose(lost)
    begun = begin_bulk(down)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 850})

    pages = [url("compensate", lost), url("retry", down[1]), url("edit", down[1]), url("confirm", lost)]
    pages += [
        reverse("admin:sagas_unknownoutcome_changelist"),
        reverse("admin:sagas_bulkretry_change", args=[begun.pk]),
    ]
    for address in pages:
        page.goto(address)
        assert complaints == []
        results = Axe().run(page, context="#content")
        complaints.clear()  # axe writes styles into the page, which its policy refuses
        assert results.violations_count == 0, f"{address}\n{results.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address


def begin_bulk(sagas: list[Any]) -> BulkRetry:
    heidi = staff("heidi", "retry_saga", "start_bulkretry")
    begun = bulk.start(uuid4(), heidi, "the bank is up", [saga.pk for saga in sagas], chosen="all that failed")
    bank.answer = "down"
    bulk.tick(begun.pk)
    drain_due()
    bulk.tick(begun.pk)
    begun.refresh_from_db()
    assert begun.state == "STOPPED"
    return begun
