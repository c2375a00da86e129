from functools import partial

import pytest
from django.db import IntegrityError, transaction

from shipping import services
from shipping.carrier import Address, Booking, BookingRequest, CancelRequest
from shipping.exceptions import AlreadyCancelled, ContradictoryAnswer, ShipmentMismatch, UnknownShipment
from shipping.models import Shipment
from shipping.selectors import shipment_of
from tests.racing import race

pytestmark = pytest.mark.django_db

HOME = Address("Ada", "Street 1", "Berlin", "10115", "DE")
REQUEST = BookingRequest("S-1", "Ada", "Street 1", "Berlin", "10115", "DE", 1200)
LABEL = Booking("shp_1", "TRACK1", "SandboxPost")


def open_shipment(address=HOME):
    return services.open_shipment("S-1", address, 1200)


def status():
    return shipment_of("S-1").status


def test_the_intent_is_stored_once_before_any_call():
    assert open_shipment() == open_shipment() == REQUEST
    assert Shipment.objects.count() == 1
    assert status() == "UNKNOWN"


def test_the_same_reference_to_another_address_is_refused():
    open_shipment()

    with pytest.raises(ShipmentMismatch):
        open_shipment(Address("Ada", "Street 2", "Berlin", "10115", "DE"))

    assert Shipment.objects.get().line1 == "Street 1"


def test_a_booking_is_recorded_once():
    open_shipment()
    services.record_booked("S-1", LABEL)
    services.record_booked("S-1", LABEL)

    view = shipment_of("S-1")
    assert (view.status, view.tracking_code, view.carrier) == ("BOOKED", "TRACK1", "SandboxPost")
    assert (view.tracking_status, view.events) == ("pre_transit", ())


def test_a_second_label_does_not_replace_the_first():
    open_shipment()
    services.record_booked("S-1", LABEL)

    with pytest.raises(ContradictoryAnswer):
        services.record_booked("S-1", Booking("shp_2", "TRACK2", "SandboxPost"))
    with pytest.raises(ContradictoryAnswer):
        services.record_refused("S-1", "code", "No.")

    assert shipment_of("S-1").tracking_code == "TRACK1"


def test_a_refused_shipment_can_be_opened_again_with_another_address():
    open_shipment()
    services.record_refused("S-1", "ADDRESS.VERIFY.FAILURE", "The carrier does not know this address.")
    assert (status(), shipment_of("S-1").refusal_message) == ("REFUSED", "The carrier does not know this address.")

    open_shipment(Address("Ada", "Street 2", "Berlin", "10115", "DE"))

    assert status() == "UNKNOWN"
    assert Shipment.objects.get().line1 == "Street 2"


def test_a_cancel_before_the_booking_leaves_a_tombstone():
    assert services.begin_cancel("S-1") == CancelRequest("S-1", None, None)
    assert services.begin_cancel("S-1") == CancelRequest("S-1", None, None)
    services.record_cancelled("S-1")

    with pytest.raises(AlreadyCancelled):
        open_shipment()
    assert status() == "CANCELLED"


@pytest.mark.parametrize("finished", [False, True])
def test_a_late_booking_is_refused_from_the_moment_the_cancel_begins(finished):
    open_shipment()
    assert services.begin_cancel("S-1") == CancelRequest("S-1", REQUEST, None)
    if finished:
        services.record_cancelled("S-1")

    with pytest.raises(AlreadyCancelled):
        services.record_booked("S-1", LABEL)
    services.record_refused("S-1", "code", "No.")

    assert status() == ("CANCELLED" if finished else "CANCELLING")


def test_a_booked_shipment_is_cancelled_with_the_carriers_own_id():
    open_shipment()
    services.record_booked("S-1", LABEL)

    assert services.begin_cancel("S-1") == CancelRequest("S-1", REQUEST, "shp_1")


def test_there_is_nothing_to_record_about_an_unknown_shipment():
    assert shipment_of("S-1") is None
    with pytest.raises(UnknownShipment):
        services.record_booked("S-1", LABEL)
    with pytest.raises(UnknownShipment):
        services.record_cancelled("S-1")


@pytest.mark.parametrize(
    "columns", [{"status": "LOST"}, {"tracking_status": "lost"}, {"tracking_code": ""}, {"weight_grams": 0}]
)
def test_the_database_refuses_shipments_that_cannot_be(columns):
    open_shipment()
    services.record_booked("S-1", LABEL)

    with pytest.raises(IntegrityError), transaction.atomic():
        Shipment.objects.update(**columns)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(5))
def test_a_cancel_that_meets_the_opening_always_ends_in_a_cancel(attempt):
    opened, cancel = race([open_shipment, partial(services.begin_cancel, "S-1")])

    if isinstance(opened, AlreadyCancelled):
        assert cancel.request is None
    else:
        assert cancel.request == opened
    assert status() in ("CANCELLING", "CANCELLED")
