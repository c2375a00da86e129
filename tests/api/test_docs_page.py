"""The documentation page in a real browser: what the policy forbids is only seen there."""

from typing import Any

from playwright.sync_api import ConsoleMessage, expect, sync_playwright

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def test_the_documentation_works_under_the_strict_policy(live_server: Any, chromium: str) -> None:
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page()
        page.on("console", note)
        page.on("request", lambda sent: complaints.append(sent.url) if live_server.url not in sent.url else None)
        page.goto(f"{live_server.url}/api/docs/")
        place_order = page.locator("#operations-orders-place_order")
        place_order.get_by_role("button").first.click()
        expect(place_order.get_by_text("idempotency-key-reused").first).to_be_visible()
        expect(page.locator("#operations-sagas-resolve_saga")).to_be_visible()
        browser.close()

    assert complaints == []
