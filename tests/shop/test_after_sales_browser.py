"""Cancelling, returning and readdressing in a real browser: live, without scripts, for everybody."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from sagas.driver import drain_due
from shop.models import Order, Product
from shop.services import follow_parcel
from tests.sandbox.processes import SandboxProcess
from tests.shop.test_browser import chrome, complaints, fill_in, phone, window

__all__ = ["chrome", "complaints", "phone", "window"]

pytestmark = pytest.mark.django_db(transaction=True)


def order_a_mug(page: Page) -> Order:
    page.goto("/product/mug/")
    page.get_by_role("button", name="Put in the cart").click()
    expect(page.get_by_role("link", name="Cart with 1 item")).to_be_visible()
    page.goto("/checkout/")
    fill_in(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("We have your order")
    return Order.objects.get()


def test_a_cancellation_is_followed_live_to_its_end(
    window: Page, mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    order_a_mug(window)
    drain_due(20)
    expect(window.get_by_role("heading", level=1)).to_have_text("Your order is confirmed")

    window.get_by_role("link", name="Cancel this order").click()
    window.get_by_label("Why? (optional)").fill("found it at home")
    window.get_by_role("button", name="Cancel the order").click()
    expect(window.get_by_role("heading", level=1)).to_have_text("We are cancelling your order")
    drain_due(20)

    expect(window.get_by_role("heading", level=1)).to_have_text("Your order was cancelled")
    expect(window.locator("#order-status")).to_contain_text("You got your money back.")


def test_a_phone_without_scripts_returns_an_order(
    phone: Page, mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    order = order_a_mug(phone)
    drain_due(20)
    follow_parcel(order.number, "delivered")
    phone.goto(order.get_absolute_url())

    phone.get_by_role("link", name="Return this order").focus()
    phone.keyboard.press("Enter")
    phone.get_by_role("button", name="Return the order").click()
    expect(phone).to_have_url(re.compile(f"{order.get_absolute_url()}$"))
    drain_due(5)

    # The page asks again by itself, every four seconds.
    expect(phone.get_by_role("heading", level=1)).to_have_text("We are waiting for your parcel")


def test_the_pages_can_be_used_by_everybody(
    window: Page, mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    order = order_a_mug(window)
    drain_due(20)

    for page in ("cancel", "return", "address"):
        window.goto(f"{order.get_absolute_url()}{page}/")
        found = Axe().run(window)
        assert found.violations_count == 0, f"{page}: {found.generate_report()}"
        window.set_viewport_size({"width": 390, "height": 844})
        assert window.evaluate("document.documentElement.scrollWidth <= innerWidth"), page
