"""``python -m tests.pictures``: the pictures of the docs, taken of a running shop in which something is stuck.

It places orders through the API and makes the bank and the carrier fail, so use a shop whose data may go.
"""

import argparse
import shutil
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests
from playwright.sync_api import Browser, Page, sync_playwright

FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
MOST_BYTES = 150_000
SETTLED_S = 60
ADDRESS = {"name": "Ada", "line1": "12 Square", "city": "Dublin", "postal_code": "D02", "country": "IE"}


class Shop:
    """A running shop with its bank and its carrier on the ports after its own."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._outside = {"bank": port + 1, "carrier": port + 2}

    def order(self, card: str = "pm_card_visa", sku: str = "HOM-VASE") -> dict[str, Any]:
        wish = {
            "email": "ada@example.org",
            "payment_token": card,
            "lines": [{"sku": sku, "quantity": 1}],
            "shipping_address": ADDRESS,
        }
        return self._post("orders/", wish)

    def cancel(self, order: dict[str, Any]) -> None:
        self._post(f"orders/{order['number']}/cancel/", {}, {"X-Order-Token": order["access_token"]})

    def control(self, service: str, **wish: Any) -> None:
        address = f"http://127.0.0.1:{self._outside[service]}/_control"
        requests.post(address, json=wish, timeout=30).raise_for_status()

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        keys = {"Idempotency-Key": str(uuid4()), **(headers or {})}
        answer = requests.post(f"{self.url}/api/v1/{path}", json=body, headers=keys, timeout=20)
        answer.raise_for_status()
        return dict(answer.json())


def make_trouble(shop: Shop) -> str:
    """Orders that go well, orders that are declined, and one whose parcel cannot be called back: its number."""
    for _ in range(8):
        shop.order()
    for _ in range(2):
        shop.order("pm_card_chargeDeclined")
    time.sleep(3)
    shop.control("bank", fault="down", operation="capture", times=4)
    shop.control("carrier", fault="decline", operation="refund", times=1)
    stuck = shop.order()
    time.sleep(2)
    shop.cancel(stuck)
    time.sleep(2)
    shop.control("bank", fault="reset")
    shop.control("bank", fault="down", operation="confirm", times=2)
    shop.order()
    return str(stuck["number"])


def log_in(browser: Browser, shop: Shop) -> Page:
    page = browser.new_context(base_url=shop.url, viewport={"width": 1200, "height": 900}).new_page()
    page.goto("/admin/login/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("admin")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/")
    return page


def take(page: Page, name: str, height: int) -> None:
    page.set_viewport_size({"width": 1200, "height": height})
    picture = page.screenshot(path=FOLDER / name, animations="disabled")
    if len(picture) > MOST_BYTES:
        raise SystemExit(f"{name} has {len(picture)} bytes; show less of the page.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="of the shop that runs")
    shop = Shop(parser.parse_args().port)
    number = make_trouble(shop)
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = log_in(browser, shop)
        page.goto("/admin/sagas/")
        page.get_by_role("link", name=f"shop.checkout {number}").first.wait_for(timeout=SETTLED_S * 1_000)
        take(page, "dashboard.png", 1_150)
        page.get_by_role("link", name=f"shop.checkout {number}").first.click()
        page.get_by_role("heading", name="What you can do").wait_for()
        take(page, "saga.png", 860)
        browser.close()


if __name__ == "__main__":
    main()
