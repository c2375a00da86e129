"""The operator's pages in a browser: they follow a saga, and a retry is pressed with the keyboard alone."""

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.apps import apps
from django.contrib.auth.models import Group
from django.db import connections
from django.utils.timezone import now
from playwright.sync_api import Page, expect, sync_playwright

from sagas.driver import drain_due
from sagas.models import SagaInstance
from sagas.monitoring.models import Alert, AlertMessage
from sagas.roles import Role, make_roles
from tests.sagas.operators import bank, bank_is_itself_again, client_of, drain, staff, trip, url

__all__ = ["bank_is_itself_again"]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser writes to its console as an error; it fails the test."""
    said: list[str] = []
    yield said
    assert said == []


@pytest.fixture
def page(transactional_db: None, live_server: Any, chromium: str, complaints: list[str]) -> Iterator[Page]:
    """A browser in which an operator is logged in."""
    make_roles(apps.get_app_config("sagas"))
    grace = staff("grace", "edit_saga")
    grace.groups.add(Group.objects.get(name=Role.OPERATOR))
    session = client_of(grace).cookies["sessionid"].value
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        context = browser.new_context(base_url=live_server.url, viewport={"width": 1360, "height": 850})
        context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        browser.close()
        # Playwright runs an event loop in this thread: Django keeps a connection of its own for it.
        connections.close_all()


def test_the_page_follows_a_saga_and_leaves_open_what_was_opened(page: Page) -> None:
    saga = trip("down")
    page.goto(url("change", saga))
    page.get_by_text("Receipt", exact=True).click()
    expect(page.get_by_text('"number": "12A"')).to_be_visible()

    bank.answer = "yes"
    saga.steps.filter(name="pay").update(due_at=now())
    SagaInstance.objects.filter(pk=saga.pk).update(wake_at=now())
    drain()

    expect(page.locator(".saga-why-now")).to_have_text("Done.")
    expect(page.get_by_text('"number": "12A"')).to_be_visible()
    expect(page.locator("#saga")).not_to_have_attribute("hx-get", "")
    expect(page.get_by_role("status")).to_have_text("Completed. Done.")


def test_a_retry_by_keyboard_alone_ends_with_what_came_of_it(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagas.admin.operating.FOLLOW_SECONDS", 30)
    saga = trip("down")
    bank.answer = "yes"
    over = threading.Event()

    def work() -> None:
        try:
            while not over.is_set():
                drain_due(seconds=1)
                over.wait(0.02)
        finally:
            connections.close_all()

    worker = threading.Thread(target=work)
    page.goto(url("change", saga))
    page.get_by_role("link", name="Retry now").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Why").focus()
    page.keyboard.type("the bank is up again")
    page.keyboard.press("Tab")
    worker.start()
    try:
        page.keyboard.press("Enter")
        expect(page.locator(".messagelist")).to_have_text("Retry: send_ticket came out DONE. Done.")
    finally:
        over.set()
        worker.join(timeout=30)


def test_whoever_is_about_to_press_stays_there_while_the_page_follows(page: Page) -> None:
    saga = trip("down")
    page.goto(url("change", saga))
    page.get_by_role("link", name="Retry now").focus()

    SagaInstance.objects.filter(pk=saga.pk).update(version=saga.version + 1, attention="look at me")

    expect(page.get_by_text("Needs attention: look at me")).to_be_visible()
    expect(page.get_by_role("link", name="Retry now")).to_be_focused()


def test_the_dashboard_is_reached_and_filtered_by_keyboard_alone(page: Page) -> None:
    trip("down")
    page.goto("/admin/")
    page.get_by_role("link", name="Dashboard").focus()
    page.keyboard.press("Enter")
    page.get_by_label("In the last:").focus()
    page.keyboard.press("ArrowDown")
    while page.evaluate("document.activeElement.innerText") != "Show":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="In the last 24 hours")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/admin/sagas/\?definition=&period=24h"))
    expect(page.get_by_label("In the last:")).to_have_value("24h")


def test_the_dashboard_shows_what_is_new_and_leaves_who_reads_it_where_they_are(page: Page) -> None:
    saga = trip("no stamp", "ada")
    page.goto("/admin/sagas/")
    page.get_by_label("Definition:").select_option("tests.journey")  # chosen, and not sent yet
    page.locator(f"#person-{saga.pk}").focus()

    trip("no stamp", "grace")

    expect(page.locator('[id^="person-"]')).to_have_count(2)
    expect(page.locator(f"#person-{saga.pk}")).to_be_focused()
    expect(page.get_by_label("Definition:")).to_have_value("tests.journey")


def alert_about(saga: SagaInstance) -> Alert:
    alert = Alert.objects.create(
        condition="OUTCOME_UNKNOWN", code="OUTCOME_UNKNOWN", fingerprint="a" * 32, subject="tests.journey lost",
        message="no answer", count=1, saga_id=saga.pk, opened_at=now(), seen_at=now(),
    )  # fmt: skip
    AlertMessage.objects.create(alert=alert, channel="mail", news="opened", sent_at=now(), tries=1)
    return alert


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1360)])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    page: Page, complaints: list[str], scheme: Any, width: int
) -> None:
    lost, undone = trip("lost", "lost"), trip("no", "undone")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 850})

    pages = [url(name, saga) for name, saga in (("change", lost), ("change", undone), ("resolve", lost))]
    alert = alert_about(lost)
    alerts = ("/admin/sagas/alert/", f"/admin/sagas/alert/{alert.pk}/change/")
    for address in (*pages, url("compensate", lost), "/admin/sagas/?charts=numbers", *alerts):
        page.goto(address)
        assert complaints == []
        results = Axe().run(page, context="#content")
        complaints.clear()  # axe writes styles into the page, which its policy refuses
        assert results.violations_count == 0, results.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
