"""What an order's page tells while its checkout runs: with the real engine, bank and carrier."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from inventory.selectors import available
from payments.models import Payment
from sagas.driver import drain_due
from sagas.models import SagaInstance
from sagas.states import ActionStatus, SagaStatus
from shop.models import Order, Product
from shop.progress import Progress, progress_of
from shop.services import cancel_order
from tests.holding import act_for_holder_of
from tests.sandbox.processes import SandboxProcess
from tests.shop.shopping import ADDRESS, place, put_in_cart, submit_checkout

LABELS = ("Order received", "Stock reserved", "Payment authorised", "Parcel booked", "Paid", "Confirmed")


def stages_of(progress: Progress) -> list[tuple[str, str]]:
    return [(stage.label, stage.state) for stage in progress.stages]


def saga_row(order: Order, **values: Any) -> None:
    SagaInstance.objects.filter(business_key=order.number).update(**values)


def step_row(order: Order, name: str, action: ActionStatus, **values: Any) -> None:
    saga = SagaInstance.objects.get(business_key=order.number)
    values = {"position": saga.steps.count(), "kind": "action", "compensation": "NOT_NEEDED", **values}
    saga.steps.create(name=name, action=action, updated_at=saga.created_at, **values)


def test_a_new_order_says_that_it_was_received(mug: Product) -> None:
    progress = progress_of(place(("MUG", 1)))

    assert (progress.headline, progress.tone, progress.live) == ("We have your order", "working", True)
    assert stages_of(progress) == list(zip(LABELS, ("done", "current", *["todo"] * 4), strict=True))


@pytest.mark.django_db(transaction=True)
def test_an_order_that_goes_well_is_followed_to_its_parcel(
    client: Client, mug: Product, bank: SandboxProcess, carrier: SandboxProcess
) -> None:
    put_in_cart(client, mug, 2)
    address = submit_checkout(client).url

    drain_due(20)

    order = Order.objects.get()
    page = client.get(address).content.decode()
    assert order.status == "confirmed"
    assert stages_of(progress_of(order)) == [(label, "done") for label in LABELS]
    assert "Your order is confirmed" in page
    assert "SandboxPost" in page
    assert "hx-get" not in page.partition("order-status")[2]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("card", "reason"),
    [
        ("pm_card_chargeDeclined", "Your bank declined the card."),
        (
            "pm_card_chargeDeclinedInsufficientFunds",
            "Your bank declined the card: there is not enough money on the account.",
        ),
    ],
)
def test_a_declined_card_is_told_with_its_reason_and_that_nothing_was_charged(
    client: Client, mug: Product, bank: SandboxProcess, carrier: SandboxProcess, card: str, reason: str
) -> None:
    put_in_cart(client, mug, 2)
    address = submit_checkout(client, payment_method=card).url

    drain_due(20)

    progress = progress_of(Order.objects.get())
    assert (progress.headline, progress.tone, progress.live) == ("Your order was cancelled", "bad", False)
    assert progress.detail == f"{reason} Nothing was charged."
    assert ("Payment declined", "failed") in stages_of(progress)
    assert "Parcel" not in str(stages_of(progress))
    assert progress.detail in client.get(address).content.decode()
    assert available(["MUG"]) == {"MUG": 10}


@pytest.mark.django_db(transaction=True)
def test_a_bank_that_is_down_is_waited_for_by_name(
    client: Client, mug: Product, bank: SandboxProcess, carrier: SandboxProcess, settings: Any
) -> None:
    settings.BANK_URL = "http://127.0.0.1:9"
    put_in_cart(client, mug)
    address = submit_checkout(client).url

    drain_due(5)

    progress = progress_of(Order.objects.get())
    assert (progress.headline, progress.tone, progress.live) == ("Waiting for the bank", "waiting", True)
    assert progress.detail.startswith("We keep trying")
    assert stages_of(progress)[:3] == [
        ("Order received", "done"),
        ("Stock reserved", "done"),
        ("Payment authorised", "waiting"),
    ]
    assert "Waiting for the bank" in client.get(address).content.decode()


def test_the_parcel_service_is_waited_for_by_name(mug: Product) -> None:
    order = place(("MUG", 1))
    step_row(order, "book_shipment", ActionStatus.UNKNOWN)

    assert progress_of(order).headline == "Waiting for the parcel service"


def test_on_the_way_back_the_page_says_why_and_that_it_is_not_over(mug: Product) -> None:
    order = place(("MUG", 1))
    step_row(order, "reserve_stock", ActionStatus.SUCCEEDED, compensation="RUNNING")
    step_row(order, "authorize_payment", ActionStatus.FAILED)
    saga_row(order, status=SagaStatus.COMPENSATING, backward=True, failure={"step": "x", "code": "card_declined"})

    progress = progress_of(order)

    assert (progress.headline, progress.live) == ("We are cancelling your order", True)
    assert progress.detail.startswith("Your bank declined the card. We are giving everything back")
    assert stages_of(progress) == [
        ("Order received", "done"),
        ("Stock reserved", "done"),
        ("Payment declined", "failed"),
    ]


@pytest.mark.parametrize("status", [SagaStatus.SUSPENDED, SagaStatus.ABANDONED])
def test_an_order_that_needs_a_person_is_told_without_technical_words(mug: Product, status: SagaStatus) -> None:
    order = place(("MUG", 1))
    ends: dict[str, Any] = {"ended_at": order.created_at, "deadline_at": None}
    values = {"suspend_reason": "CONTRACT_VIOLATION"} if status is SagaStatus.SUSPENDED else ends
    saga_row(order, status=status, wake_at=None, **values)

    progress = progress_of(order)

    assert progress.headline == "Somebody of us is looking after your order"
    assert "CONTRACT" not in str(progress)


@pytest.mark.parametrize(
    ("status", "captured", "refunded", "sentence", "live"),
    [
        (None, 0, 0, "Nothing was charged.", False),
        ("DECLINED", 0, 0, "Nothing was charged.", False),
        ("VOIDED", 0, 0, "Nothing was charged.", False),
        ("AUTHORIZED", 0, 0, "Nothing will be charged.", True),
        ("UNKNOWN", 0, 0, "Nothing will be charged.", True),
        ("CAPTURED", 1999, 0, "Your money is on its way back to you.", True),
        ("CAPTURED", 1999, 1999, "You got your money back.", False),
    ],
)
def test_a_cancelled_order_says_of_the_money_only_what_the_payment_knows(
    mug: Product, monkeypatch: pytest.MonkeyPatch, status: str, captured: int, refunded: int, sentence: str, live: bool
) -> None:
    from payments.selectors import PaymentView

    order = place(("MUG", 1))
    act_for_holder_of(order.number)
    order = cancel_order(order.number, "You asked us to cancel it.")
    view = PaymentView(order.number, status, 1999, "EUR", captured, refunded, "", "")
    monkeypatch.setattr("payments.selectors.payment_of", lambda reference: view if status else None)

    progress = progress_of(order)

    assert (progress.detail, progress.live) == (f"You asked us to cancel it. {sentence}", live)


def test_polling_brings_only_news_and_ends_with_the_order(as_ada: Client, ada: User, mug: Product) -> None:
    order = place(("MUG", 1), user=ada)
    address = f"/orders/{order.number}/status/"
    digest = progress_of(order).digest

    unchanged = as_ada.get(address, {"seen": digest})
    first = as_ada.get(address, {"seen": "something older"})
    act_for_holder_of(order.number)
    cancel_order(order.number, "Your bank declined the card.")
    last = as_ada.get(address, {"seen": digest})

    assert (unchanged.status_code, unchanged.content) == (204, b"")
    assert (first.status_code, f"?seen={digest}" in first.content.decode()) == (200, True)
    assert (last.status_code, b"hx-get" in last.content) == (286, False)
    assert b"Your order was cancelled. Your bank declined the card. Nothing was charged." in last.content


def test_without_javascript_the_page_loads_itself_again_until_the_end(as_ada: Client, ada: User, mug: Product) -> None:
    order = place(("MUG", 1), user=ada)
    assert b'<meta http-equiv="refresh"' in as_ada.get(f"/orders/{order.number}/").content
    act_for_holder_of(order.number)

    cancel_order(order.number, "Because.")

    assert b'<meta http-equiv="refresh"' not in as_ada.get(f"/orders/{order.number}/").content


def test_what_a_shopper_typed_is_text_and_not_markup(as_ada: Client, ada: User, mug: Product) -> None:
    from dataclasses import replace

    order = place(("MUG", 1), user=ada, address=replace(ADDRESS, name="<b onclick=x>Ada</b>"))

    page = as_ada.get(f"/orders/{order.number}/").content.decode()

    assert "&lt;b onclick=x&gt;Ada&lt;/b&gt;" in page
    assert "<b onclick" not in page


def test_following_an_order_costs_a_handful_of_queries(
    as_ada: Client, ada: User, mug: Product, django_assert_max_num_queries: Any
) -> None:
    order = place(("MUG", 1), user=ada)
    Payment.objects.all().delete()

    with django_assert_max_num_queries(6):  # session, account, order, its lines, the saga, its steps
        as_ada.get(f"/orders/{order.number}/status/")
