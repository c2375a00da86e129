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
from examples.travel.services import InvalidTrip, SoldOut, book_trip, hold_place, release_place
from sagas.audit import audit
from sagas.driver import drain_due
from sagas.models import SagaInstance
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


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("number", "The number of a trip has 1 to 40 characters."),
        ("traveller", "There is no traveller nobody."),
        ("flight", "There is no flight hotel."),
        ("car", "There is no car bicycle."),
    ],
)
def test_a_trip_that_nobody_can_book_is_refused_with_the_field_at_fault(agency, field, words):
    wrong = {"number": "T" * 41, "traveller": "nobody", "flight": "hotel", "car": "bicycle"}
    asked = {"number": "T-1", "traveller": "Ada", "flight": "flight", "hotel": "hotel", "car": "car"}

    with pytest.raises(InvalidTrip, match=words) as refusal:
        book_trip(**asked | {field: wrong[field]})

    assert refusal.value.field == field
    assert (Trip.objects.count(), SagaInstance.objects.count()) == (0, 0)


def test_the_same_trip_again_is_one_trip_and_another_under_its_number_is_refused(agency):
    assert book() == book()

    with pytest.raises(InvalidTrip, match="There is another trip T-1"):
        book(traveller="Bob")

    assert (Trip.objects.count(), SagaInstance.objects.count()) == (1, 1)


def test_the_auditor_finds_a_place_that_nobody_holds(agency):
    book()
    drain_due()
    Place.objects.filter(offer__kind="car").update(status="released")

    found = [(violation.subject, violation.found, violation.expected) for violation in audit().violations]
    assert found == [("T-1", "2 places for 30000", "3 places for 30000"), ("car", "1", "0")]


def test_the_auditor_finds_a_trip_that_its_saga_has_not_booked(agency):
    book(traveller="Bob")
    drain_due()
    Trip.objects.update(status="booked")

    found = [(violation.subject, violation.found, violation.expected) for violation in audit().violations]
    assert found == [("T-1", "booked", "cancelled"), ("T-1", "0 places for 0", "3 places for 0")]


def test_the_page_of_a_saga_shows_its_trip(agency, admin_client):
    book()
    drain_due()
    saga, trip = SagaInstance.objects.get(), Trip.objects.get()

    page = admin_client.get(f"/admin/sagas/sagainstance/{saga.pk}/change/").content.decode()

    assert f'href="/admin/travel/trip/{trip.pk}/change/"' in page


@pytest.mark.parametrize("name", ["offer", "traveller", "trip", "place"])
def test_the_admin_shows_the_agencys_books_and_changes_none(agency, admin_client, name):
    book()
    drain_due()

    assert admin_client.get(f"/admin/travel/{name}/").status_code == 200
    assert admin_client.get(f"/admin/travel/{name}/?q=T-1").status_code == 200
    assert admin_client.get(f"/admin/travel/{name}/add/").status_code == 403


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
