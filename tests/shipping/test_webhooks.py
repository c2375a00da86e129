import hashlib
import hmac
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest

from shipping import services
from shipping.carrier import Address, Booking
from shipping.exceptions import InvalidEvent
from shipping.models import Shipment, TrackingEvent
from shipping.selectors import shipment_of
from shipping.webhooks import KEPT_OPEN

pytestmark = pytest.mark.django_db

SECRET = "whsec_now"


@pytest.fixture(autouse=True)
def shipment(settings):
    settings.CARRIER_WEBHOOK_SECRETS = [SECRET, "whsec_before"]
    services.open_shipment("S-1", Address("Ada", "Street 1", "Berlin", "10115", "DE"), 1200)
    services.record_booked("S-1", Booking("shp_1", "TRACK1", "SandboxPost"))


def news(status, event_id, code="TRACK1", age=timedelta(0)):
    tracker = {"tracking_code": code, "status": status, "message": f"is {status}"}
    created_at = (datetime.now(UTC) - age).isoformat()
    return json.dumps({"id": event_id, "created_at": created_at, "result": tracker}).encode()


def signature(body, secret=SECRET):
    return "hmac-sha256-hex=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def receive(body):
    return services.receive_event(body, signature(body))


def test_tracking_news_moves_the_parcel_and_is_listed():
    receipt = receive(news("in_transit", "evt_1"))

    assert (receipt.reference, receipt.tracking_status, receipt.is_new) == ("S-1", "in_transit", True)
    view = shipment_of("S-1")
    assert view.tracking_status == "in_transit"
    assert [(event.status, event.message) for event in view.events] == [("in_transit", "is in_transit")]


@pytest.mark.parametrize("order", list(itertools.permutations(["in_transit", "out_for_delivery", "delivered"])))
def test_in_whatever_order_the_news_comes_the_parcel_ends_delivered(order):
    for status in order:
        receive(news(status, f"evt_{status}"))

    assert shipment_of("S-1").tracking_status == "delivered"
    assert len(shipment_of("S-1").events) == 3


def test_repeated_news_is_stored_once():
    body = news("in_transit", "evt_1")

    assert (receive(body).is_new, receive(body).is_new) == (True, False)
    assert TrackingEvent.objects.get().payload == body.decode()


def test_news_of_an_unknown_parcel_waits_for_its_shipment():
    assert receive(news("in_transit", "evt_1", code="TRACK2")).status == "OPEN"
    services.open_shipment("S-2", Address("Bob", "Street 2", "Berlin", "10115", "DE"), 500)
    services.record_booked("S-2", Booking("shp_2", "TRACK2", "SandboxPost"))

    assert [(r.reference, r.tracking_status) for r in services.apply_pending_events()] == [("S-2", "in_transit")]
    assert shipment_of("S-2").tracking_status == "in_transit"


def test_events_that_stay_open_keep_no_other_from_its_turn():
    for number in range(3):
        receive(news("in_transit", f"evt_{number}", code="NOBODYS"))
    TrackingEvent.objects.create(
        event_id="evt_died", tracking_code="TRACK1", tracking_status="in_transit", payload="{}", status="RECEIVED"
    )

    told = [[receipt.event_id for receipt in services.apply_pending_events(limit=2)] for _ in range(2)]

    assert told == [["evt_died"], []]
    tried = TrackingEvent.objects.filter(status="OPEN").order_by("tried_at").values_list("event_id", flat=True)
    assert list(tried) == ["evt_0", "evt_1", "evt_2"]


def test_what_nobody_cleared_up_in_a_month_is_given_up_and_says_why():
    receive(news("in_transit", "evt_1", code="NOBODYS"))
    TrackingEvent.objects.update(received_at=datetime.now(UTC) - KEPT_OPEN + timedelta(hours=1))
    services.apply_pending_events()
    assert TrackingEvent.objects.get().status == "OPEN"

    TrackingEvent.objects.update(received_at=datetime.now(UTC) - KEPT_OPEN)

    assert services.apply_pending_events() == []
    event = TrackingEvent.objects.get()
    assert (event.status, event.note) == ("EXPIRED", "given up after 30 days: no shipment with this tracking code")
    assert event.settled_at is not None


def test_a_cancelled_parcel_that_moves_is_left_to_a_person():
    services.begin_cancel("S-1")

    assert receive(news("in_transit", "evt_1")).status == "OPEN"
    assert services.apply_pending_events() == []
    assert TrackingEvent.objects.get().note == "the parcel moves although the shipment is CANCELLING"
    assert Shipment.objects.get().status == "CANCELLING"


def test_a_cancelled_parcel_that_moves_on_is_one_trouble_and_none_once_it_is_booked_again():
    services.begin_cancel("S-1")
    receive(news("in_transit", "evt_1"))
    receive(news("delivered", "evt_2"))

    services.apply_pending_events()
    assert list(TrackingEvent.objects.filter(status="OPEN").values_list("event_id", flat=True)) == ["evt_2"]

    services.withdraw_cancel("S-1")
    assert [receipt.tracking_status for receipt in services.apply_pending_events()] == ["delivered"]
    assert not TrackingEvent.objects.filter(status="OPEN").exists()


def test_while_a_secret_is_replaced_both_are_valid():
    body = news("in_transit", "evt_1")

    assert services.receive_event(body, signature(body, "whsec_before")).status == "APPLIED"


@pytest.mark.parametrize("header", ["", "hmac-sha256-hex=", "é", "hmac-sha256-hex=" + "0" * 64])
def test_news_that_the_carrier_did_not_sign_is_refused(header):
    with pytest.raises(InvalidEvent):
        services.receive_event(news("delivered", "evt_1"), header)

    assert shipment_of("S-1").tracking_status == "pre_transit"
    assert not TrackingEvent.objects.exists()


@pytest.mark.parametrize("age", [timedelta(days=4), timedelta(days=-4)])
def test_old_news_is_refused(age):
    with pytest.raises(InvalidEvent):
        receive(news("delivered", "evt_1", age=age))

    assert not TrackingEvent.objects.exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"id": "e", "created_at": "now", "result": {}}'])
def test_a_signed_body_that_is_no_event_is_refused(body):
    with pytest.raises(InvalidEvent):
        receive(body)
