"""``manage.py travel --fail car``: books a trip, and tells what happens."""

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from examples.story import tell
from examples.travel.models import Offer, Traveller, Trip
from examples.travel.saga import BookTrip
from examples.travel.services import book_trip

PRICES = {"flight": 18_000, "hotel": 32_000, "car": 11_200}


class Command(BaseCommand):
    help = "Book a trip of flight, hotel and car, and tell what happens."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fail", choices=[*PRICES, "payment"], help="what is sold out, or cannot be paid")

    def handle(self, *args: Any, fail: str | None, **options: Any) -> None:
        chosen = {kind: self._offer(kind, sold_out=kind == fail) for kind in PRICES}
        traveller = Traveller.objects.create(
            name=f"Ada {uuid.uuid4().hex[:6]}", balance_amount=100 if fail == "payment" else 100_000
        )
        number = f"T-{uuid.uuid4().hex[:8]}"
        self.stdout.write(f"{traveller} wants trip {number}: {', '.join(offer.code for offer in chosen.values())}")
        self._show(traveller, chosen)
        book_trip(number, traveller.name, **{kind: offer.code for kind, offer in chosen.items()})
        tell(BookTrip.name, number, self.stdout.write)
        self._show(traveller, chosen)
        trip = Trip.objects.get(number=number)
        self.stdout.write(f"The trip is {trip.status}{f': {trip.reason}' if trip.reason else '.'}")

    def _offer(self, kind: str, *, sold_out: bool) -> Offer:
        """One of each kind has places for everybody, and one never had any."""
        code = f"{kind}-{'sold-out' if sold_out else 'sunny'}"
        defaults = {"kind": kind, "price_amount": PRICES[kind], "capacity": 0 if sold_out else 1_000_000}
        return Offer.objects.get_or_create(code=code, defaults=defaults)[0]

    def _show(self, traveller: Traveller, chosen: dict[str, Offer]) -> None:
        traveller.refresh_from_db()
        for offer in chosen.values():
            offer.refresh_from_db()
        taken = ", ".join(f"{offer.code} {offer.taken} of {offer.capacity}" for offer in chosen.values())
        self.stdout.write(f"  | taken: {taken} | {traveller} has {traveller.balance_amount / 100:.2f}")
