"""The storefront in a real browser: with JavaScript, without it, by keyboard, on a phone."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from sagas.driver import drain_due
from shop.models import Order, Product
from tests.sandbox.processes import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def chrome(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        browser.close()


def visit(context: BrowserContext, complaints: list[str]) -> Page:
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    return page


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser had to complain about: errors of scripts, and what the content policy blocked."""
    heard: list[str] = []
    yield heard
    assert heard == []


@pytest.fixture
def window(chrome: Browser, live_server: Any, complaints: list[str]) -> Iterator[Page]:
    context = chrome.new_context(base_url=live_server.url)
    yield visit(context, complaints)
    context.close()


@pytest.fixture
def phone(chrome: Browser, live_server: Any, complaints: list[str]) -> Iterator[Page]:
    """A phone without JavaScript."""
    context = chrome.new_context(base_url=live_server.url, java_script_enabled=False, viewport=PHONE)
    yield visit(context, complaints)
    context.close()


def fill_in(page: Page, card: str = "4242") -> None:
    answers = {
        "E-mail": "ada@example.org",
        "Full name": "Ada Lovelace",
        "Street and number": "Main Street 1",
        "Postal code": "10115",
        "City": "Berlin",
    }
    for label, text in answers.items():
        page.get_by_label(label).fill(text)
    page.get_by_label(card).check()
    page.get_by_role("button", name="Order and pay").click()


def test_the_order_page_follows_the_checkout_and_stops_asking_at_its_end(
    window: Page, mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    window.goto("/product/mug/")
    window.get_by_role("button", name="Put in the cart").click()
    expect(window.get_by_role("status").filter(has_text="is in your cart")).to_be_visible()
    expect(window.get_by_role("link", name="Cart with 1 item")).to_be_visible()
    window.goto("/checkout/")
    fill_in(window)
    expect(window.get_by_role("heading", level=1)).to_have_text("We have your order")

    drain_due(20)

    expect(window.get_by_role("heading", level=1)).to_have_text("Your order is confirmed")
    expect(window.locator("#announcement")).to_contain_text("Your order is confirmed.")
    expect(window).to_have_title("Your order is confirmed · Saga shop")
    asked: list[str] = []
    window.on("request", lambda request: asked.append(request.url))
    window.wait_for_timeout(2200)
    assert asked == []


def test_a_quantity_is_changed_without_leaving_the_cart(window: Page, mug: Product) -> None:
    window.goto("/product/mug/")
    window.get_by_role("button", name="Put in the cart").click()
    expect(window.get_by_role("link", name="Cart with 1 item")).to_be_visible()
    window.goto("/cart/")

    window.get_by_label("Quantity of Mug").fill("3")
    window.get_by_label("Quantity of Mug").press("Tab")

    expect(window.locator(".total")).to_contain_text("€59.97")
    expect(window.get_by_role("link", name="Cart with 3 items")).to_be_visible()

    window.get_by_role("button", name="Remove Mug").click()

    expect(window.get_by_text("Your cart is empty.")).to_be_visible()


def test_a_phone_without_javascript_buys_and_sees_the_end(
    phone: Page, mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    phone.goto("/")
    phone.get_by_role("link", name="Mug").click()
    phone.get_by_role("button", name="Put in the cart").click()
    phone.get_by_role("link", name="To the checkout").click()
    fill_in(phone, card="0002")

    expect(phone.get_by_role("heading", level=1)).to_have_text("We have your order")
    drain_due(20)
    phone.goto(f"/orders/{Order.objects.get().number}/")

    expect(phone.get_by_role("heading", level=1)).to_have_text("Your order was cancelled")
    expect(phone.get_by_text("Your bank declined the card. Nothing was charged.")).to_be_visible()


def test_the_focus_goes_to_what_is_wrong_and_from_there_to_its_field(
    window: Page, mug: Product, complaints: list[str]
) -> None:
    window.goto("/product/mug/")
    window.get_by_role("button", name="Put in the cart").click()
    expect(window.get_by_role("link", name="Cart with 1 item")).to_be_visible()
    window.goto("/checkout/")
    window.locator("#checkout").evaluate("form => form.noValidate = true")
    window.get_by_role("button", name="Order and pay").click()

    expect(window.get_by_role("alert")).to_be_focused()
    window.get_by_role("link", name="City: This field is required.").click()
    expect(window.get_by_label("City")).to_be_focused()
    assert "422" in complaints.pop()  # the browser's note on the status of the answer


def test_the_first_stop_of_the_keyboard_leads_to_the_content(window: Page, mug: Product) -> None:
    window.goto("/")

    window.keyboard.press("Tab")
    expect(window.get_by_role("link", name="Skip to the content")).to_be_focused()
    window.keyboard.press("Enter")

    expect(window.locator("main")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_a_phone(
    chrome: Browser, live_server: Any, mug: Product, kettle: Product, complaints: list[str], scheme: Any
) -> None:
    context = chrome.new_context(base_url=live_server.url, color_scheme=scheme, viewport=PHONE)
    page = visit(context, complaints)
    page.goto("/product/mug/")
    page.get_by_role("button", name="Put in the cart").click()
    expect(page.get_by_role("link", name="Cart with 1 item")).to_be_visible()
    addresses = ["/", "/search/?q=nothing", "/product/mug/", "/cart/", "/checkout/", "/account/login/"]
    addresses += ["/account/sign-up/"]
    for address in [*addresses, "the order"]:
        if address == "the order":
            page.goto("/checkout/")
            fill_in(page)
            expect(page.get_by_role("heading", level=1)).to_have_text("We have your order")
        else:
            page.goto(address)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{address}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    context.close()
