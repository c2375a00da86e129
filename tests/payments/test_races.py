from functools import partial

import pytest

from money import Money
from payments import services
from payments.exceptions import AlreadyVoided, RefundExceedsCapture
from payments.gateway import Authorization, Capture
from payments.models import Payment, Refund
from payments.selectors import money_violations
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)

PRICE = Money(1999, "EUR")


@pytest.mark.parametrize("attempt", range(5))
def test_a_void_that_meets_the_opening_of_its_payment_always_ends_in_a_void(attempt):
    opened, void = race(
        [
            partial(services.open_payment, "S-1", PRICE, "pm_card_visa", key="key-1"),
            partial(services.begin_void, "S-1"),
        ]
    )

    if isinstance(opened, AlreadyVoided):
        assert void.request is None
    else:
        assert void.request == opened
    assert Payment.objects.get().status in ("VOIDING", "VOIDED")


@pytest.mark.parametrize("attempt", range(5))
def test_an_authorization_that_meets_a_void_is_held_by_it_or_refused(attempt):
    services.open_payment("S-1", PRICE, "pm_card_visa", key="key-1")

    recorded, void = race(
        [
            partial(services.record_authorized, "S-1", Authorization("pi_1", 1999, "EUR")),
            partial(services.begin_void, "S-1"),
        ]
    )

    assert recorded is None or isinstance(recorded, AlreadyVoided)
    assert void.request is not None
    assert Payment.objects.get().status == "VOIDING"


def test_ten_refunds_at_once_give_back_no_more_than_was_taken():
    services.open_payment("S-1", PRICE, "pm_card_visa", key="key-1")
    services.record_authorized("S-1", Authorization("pi_1", 1999, "EUR"))
    services.record_captured("S-1", Capture("pi_1", 1999, "EUR"))

    results = race([partial(services.begin_refund, "S-1", f"R-{n}", Money(500, "EUR")) for n in range(10)])

    assert sum(isinstance(result, RefundExceedsCapture) for result in results) == 7
    assert Refund.objects.count() == 3
    assert money_violations() == []
