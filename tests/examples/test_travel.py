"""The travel agency: all of a trip or nothing, nothing overbooked, whatever breaks."""

from collections import Counter
from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import IntegrityError

from examples.travel import steps
from examples.travel.models import Offer, Place, Traveller, Trip
from examples.travel.saga import BookTrip
from examples.travel.services import SoldOut, book_trip, hold_place, release_place
from sagas.audit import audit
from sagas.driver import drain_due
from sagas.services import turn_back
from sagas.testing import Witness, play, refused, verify
from tests.thinning import SEED, share_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def agency() -> None:
    open_agency()


def open_agency() -> None:
    """Two places of each kind; Ada can pay, Bob cannot."""
    for kind in Offer.Kind.values:
        Offer.objects.create(code=kind, kind=kind, price_amount=10_000, capacity=2)
    Traveller.objects.create(name="Ada", balance_amount=50_000)
    Traveller.objects.create(name="Bob", balance_amount=29_999)


def book(number: str = "T-1", traveller: str = "Ada") -> Trip:
    return book_trip(number, traveller, flight="flight", hotel="hotel", car="car")


def books() -> dict[str, object]:
    return {
        "taken": list(Offer.objects.order_by("code").values_list("taken", flat=True)),
        "money": dict(Traveller.objects.values_list("name", "balance_amount")),
    }


UNTOUCHED = {"taken": [0, 0, 0], "money": {"Ada": 50_000, "Bob": 29_999}}


def test_a_trip_is_booked_and_paid(agency):
    trip = book()

    drain_due()

    trip.refresh_from_db()
    assert (trip.status, trip.paid_amount) == ("booked", 30_000)
    assert books() == {"taken": [1, 1, 1], "money": {"Ada": 20_000, "Bob": 29_999}}
    assert audit().violations == ()


@pytest.mark.parametrize("kind", Offer.Kind.values)
def test_what_is_sold_out_cancels_the_others(agency, kind):
    Offer.objects.filter(kind=kind).update(capacity=0)
    trip = book()

    drain_due()

    trip.refresh_from_db()
    assert (trip.status, trip.reason) == ("cancelled", f"{kind} {kind} is sold out.")
    assert books() == UNTOUCHED


def test_a_trip_that_cannot_be_paid_gives_everything_back(agency):
    trip = book(traveller="Bob")

    drain_due()

    trip.refresh_from_db()
    assert (trip.status, trip.reason) == ("cancelled", "There is not enough money on the account.")
    assert books() == UNTOUCHED


def test_a_trip_is_cancelled_until_it_is_paid(agency):
    book()

    assert turn_back(BookTrip, "T-1", why="It rains there.")
    drain_due()

    assert Trip.objects.get().status == "cancelled"
    assert books() == UNTOUCHED


def test_of_many_travellers_as_many_go_as_there_are_places(agency):
    Traveller.objects.filter(name="Ada").update(balance_amount=1_000_000)
    for number in range(12):
        book(f"T-{number}")

    drain_due()

    assert Counter(Trip.objects.values_list("status", flat=True)) == {"booked": 2, "cancelled": 10}
    assert books()["taken"] == [2, 2, 2]


def test_postgresql_itself_refuses_to_overbook(agency):
    with pytest.raises(IntegrityError, match="travel_offer_not_overbooked"):
        Offer.objects.filter(code="car").update(taken=3)


def test_a_place_given_back_before_it_was_held_is_never_held(agency):
    car = Offer.objects.get(code="car")

    release_place("T-1", car)

    with pytest.raises(SoldOut):
        hold_place("T-1", car)
    assert books() == UNTOUCHED


def test_a_car_that_is_sold_out_in_memory():
    """The plan says what has to happen, without a database."""
    played = play(BookTrip, {steps.reserve_car: refused("sold_out")})

    assert played.status == "COMPENSATED"
    assert "take_payment done" not in played.trace
    assert {"release_flight done", "release_hotel done"} <= set(played.trace)


@pytest.mark.parametrize(
    ("fail", "end"),
    [(None, "The trip is booked."), ("car", "The trip is cancelled: car car-sold-out is sold out.")],
)
def test_the_command_tells_what_happens(fail, end):
    out = StringIO()

    call_command("travel", fail=fail, stdout=out)

    story = out.getvalue()
    assert story.splitlines()[-1] == end
    assert ("  - takes back reserve_hotel done" in story) == bool(fail)


class Agency:
    """What `verify` asks: the rows are the world."""

    def rebuild(self) -> None:
        for model in (Place, Trip, Offer, Traveller):
            model.objects.all().delete()
        open_agency()

    def witness(self) -> Witness:
        held = set(Place.objects.filter(status="held").values_list("offer__kind", flat=True))
        left = {f"reserve_{kind}" for kind in held}
        paid = 50_000 - Traveller.objects.get(name="Ada").balance_amount
        if paid:
            left.add("take_payment")
        return Witness({"take_payment:action": paid // 30_000}, frozenset(left))


def nothing_is_lost() -> Iterator[str]:
    for offer in Offer.objects.all():
        held = offer.places.filter(status="held").count()
        if offer.taken != held:
            yield f"{offer} says {offer.taken} taken, {held} are held"
    spent = 50_000 - Traveller.objects.get(name="Ada").balance_amount
    paid = sum(Trip.objects.values_list("paid_amount", flat=True))
    if spent != paid:
        yield f"{spent} were spent, {paid} are paid for"


@pytest.mark.verify
def test_a_trip_withstands_everything():
    proof = verify(BookTrip, start=book, world=Agency(), invariants=[nothing_is_lost], share=share_of(0.1), seed=SEED)

    assert (proof.violations, proof.never_passed) == ([], [])
