"""The EasyPost adapter against the sandbox carrier: real sockets, and the carrier's own ledger as the witness."""

import time
import uuid
from contextlib import suppress
from datetime import timedelta

import pytest

from shipping import services
from shipping.adapters.easypost import EasyPostCarrier
from shipping.carrier import BookingRequest, CancelRequest, Quote
from shipping.exceptions import (
    BookingRefused,
    CancelRefused,
    CarrierMisuse,
    CarrierUnavailable,
    NotDone,
    OutcomeUnknown,
)

SOON = timedelta(seconds=5)


def parcel(postal_code="10115", grams=1200):
    return BookingRequest(f"S-{uuid.uuid4().hex[:10]}", "Ada", "Street 1", "Berlin", postal_code, "DE", grams)


def book(request, timeout=SOON):
    return services.book(request, key=request.reference, timeout=timeout)


def cancel(request):
    services.cancel(CancelRequest(request.reference, request, None), key=request.reference, timeout=SOON)


def labels(carrier, request):
    """The shipments for which a label was bought, and whether it was given back."""
    return [bool(row["refund_status"]) for row in carrier.ledger(request.reference) if row["tracking_code"]]


def test_booking_twice_buys_one_label(carrier):
    request = parcel()

    assert book(request) == book(request)
    assert labels(carrier, request) == [False]


def test_a_parcel_of_one_gram_is_booked(carrier):
    request = parcel(grams=1)

    book(request)

    assert labels(carrier, request) == [False]


@pytest.mark.parametrize("operation", ["create", "buy"])
@pytest.mark.parametrize("fault", ["answer_lost", "error_after", "error", "garbage", "late", "twice"])
def test_whatever_goes_wrong_one_label_is_bought(carrier, fault, operation):
    request = parcel()
    carrier.control(fault=fault, operation=operation, seconds=0)

    if fault == "twice":
        book(request)
    else:
        with pytest.raises(OutcomeUnknown):
            book(request)
    time.sleep(0.1 if fault == "late" else 0)
    book(request)

    assert carrier.fired() == {fault: 1}
    assert labels(carrier, request) == [False]


def test_an_address_that_nobody_knows_is_refused_in_the_shoppers_words(carrier):
    request = parcel("00000")

    with pytest.raises(BookingRefused) as refusal:
        book(request)

    assert refusal.value.code == "ADDRESS.VERIFY.FAILURE"
    assert refusal.value.message == "The carrier does not know this address."
    cancel(request)


def test_a_carrier_that_will_not_deliver_is_a_refusal(carrier):
    request = parcel()
    carrier.control(fault="decline", operation="buy")

    with pytest.raises(BookingRefused):
        book(request)

    assert labels(carrier, request) == []


def test_a_carrier_that_is_down_or_gone_has_done_nothing(carrier):
    request = parcel()
    carrier.control(fault="down", operation="create")

    with pytest.raises(CarrierUnavailable) as refusal:
        book(request)
    assert refusal.value.retry_after == timedelta(seconds=1)
    with pytest.raises(CarrierUnavailable):
        EasyPostCarrier("http://127.0.0.1:9", "key").book(request, key="k", timeout=SOON)
    with pytest.raises(CarrierMisuse, match="401"):
        EasyPostCarrier(carrier.url, "wrong").book(request, key="k", timeout=SOON)
    assert carrier.ledger(request.reference) == []


def test_a_stall_beyond_the_time_out_is_unknown_and_buys_nothing_after_it(carrier):
    request = parcel()
    carrier.control(fault="stall", operation="create", seconds=8)

    started = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        book(request, timeout=timedelta(seconds=0.3))

    assert time.monotonic() - started < 6
    time.sleep(8)
    assert labels(carrier, request) == []


def test_a_booking_whose_answer_is_lost_is_found(carrier):
    request = parcel()
    with pytest.raises(OutcomeUnknown):
        services.find_booking(request, key="k", timeout=SOON)
    carrier.control(fault="answer_lost", operation="buy")
    with pytest.raises(OutcomeUnknown):
        book(request)

    assert services.find_booking(request, key="k", timeout=SOON) == book(request)


def test_a_label_is_given_back_once_and_then_it_is_proven_gone(carrier):
    request = parcel()
    book(request)

    cancel(request)
    cancel(request)

    assert labels(carrier, request) == [True]
    with pytest.raises(NotDone):
        services.find_booking(request, key="k", timeout=SOON)


def test_a_purchase_that_arrives_after_the_cancel_is_refused(carrier):
    request = parcel()
    carrier.control(fault="late", operation="buy", seconds=0.4)
    with pytest.raises(OutcomeUnknown):
        book(request)

    cancel(request)
    time.sleep(0.6)

    assert carrier.fired() == {"late": 1}
    assert labels(carrier, request) == [True]


def test_a_booking_that_begins_after_its_cancel_leaves_no_label_that_is_paid_for(carrier):
    request = parcel()

    cancel(request)
    book(request)  # by a worker that was frozen before it asked the carrier anything

    assert labels(carrier, request) == [True]


@pytest.mark.parametrize("operation", ["create", "buy", "retrieve", "refund"])
@pytest.mark.parametrize("fault", ["answer_lost", "error_after", "error", "garbage", "late", "twice"])
def test_whatever_goes_wrong_with_a_cancel_no_label_is_left(carrier, fault, operation):
    request = parcel()
    carrier.control(fault=fault, operation=operation, seconds=0)

    with suppress(OutcomeUnknown):
        cancel(request)
    time.sleep(0.1 if fault == "late" else 0)
    cancel(request)

    assert carrier.fired() == {fault: 1}
    assert labels(carrier, request) == [True]


def test_nothing_booked_is_nothing_to_cancel(settings):
    settings.CARRIER_URL = "http://127.0.0.1:9"
    services.cancel(CancelRequest("S-1", None, None), key="k", timeout=SOON)


def test_a_parcel_on_its_way_cannot_be_called_back(carrier):
    request = parcel()
    book(request)
    carrier.control(move=request.reference, status="in_transit")

    with pytest.raises(CancelRefused):
        cancel(request)

    assert labels(carrier, request) == [False]


def test_quotes_come_cheapest_first_and_make_no_booking(carrier):
    quotes = services.quote(parcel().address, 1200, timeout=SOON)

    assert quotes == [
        Quote("SandboxPost", "GroundAdvantage", 640, "EUR", 5),
        Quote("SandboxPost", "Priority", 985, "EUR", 2),
    ]
