"""What shoppers want, drawn from a seed, and what they were answered. Nothing here sends anything."""

import random
from dataclasses import dataclass, field
from typing import Any, TypeVar

_T = TypeVar("_T")

# (sku, units, how often it is wanted): few and hot, so that orders meet on the same rows; one far too scarce.
STOCK = [
    ("KIT-MUG", 1_000_000, 30),
    ("DSK-NOTE", 1_000_000, 25),
    ("PLY-YOYO", 1_000_000, 20),
    ("HOM-CANDLE", 1_000_000, 10),
    ("DSK-CLOCK", 28, 10),
    ("HOM-MIRROR", 3, 5),
]
SCARCE = ("DSK-CLOCK", "HOM-MIRROR")
GOOD_CARD = "pm_card_visa"
CARDS = [(GOOD_CARD, 88), ("pm_card_chargeDeclined", 8), ("pm_card_chargeDeclinedInsufficientFunds", 4)]
NOWHERE = "00000"  # where the carrier delivers nothing
# What is asked for an order that was accepted, one after the other, and in how many of a hundred orders.
AFTERWARDS: list[tuple[tuple[str, ...], int]] = [
    ((), 68),
    (("cancel",), 10),
    (("readdress",), 8),
    (("readdress", "cancel"), 4),
    (("return",), 10),
]


@dataclass
class Answer:
    """One answer, or its absence: status 0."""

    status: int
    body: dict[str, Any]
    sent_at: float
    came_at: float


@dataclass
class Errand:
    """What a shopper asks for an order that was accepted: ``what`` is cancel, readdress or return."""

    what: str
    after: float  # seconds
    address: dict[str, str]  # for a change of address
    accepted_goods: bool  # for a return: what the person says who looks at them
    breaks_one: bool  # for a return: one piece cannot be sold again
    answers: list[Answer] = field(default_factory=list)
    verdicts: list[Answer] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        return any(answer.status == 202 for answer in self.answers)

    @property
    def sagas(self) -> set[str]:
        """The sagas that it was promised to be carried out by."""
        return {answer.body.get("saga", "") for answer in self.answers if answer.status == 202}

    @property
    def is_inspected(self) -> bool:
        """202, or 409 for a repetition: the first verdict stands, also when its answer was lost."""
        return any(answer.status in (202, 409) for answer in self.verdicts)


@dataclass
class Wish:
    """One shopper's order, all its requests, and what came of them."""

    key: str
    body: dict[str, Any]
    twin: bool  # the same request a second time, at the same time
    gives_up: bool  # goes away when the answer is lost
    errands: list[Errand]
    answers: list[Answer] = field(default_factory=list)

    @property
    def email(self) -> str:
        return str(self.body["email"])

    @property
    def accepted(self) -> list[Answer]:
        return [answer for answer in self.answers if 200 <= answer.status < 300]

    @property
    def can_be_carried_out(self) -> bool:
        """Nothing but the shopper stands in the way: a good card, an address, goods in plenty."""
        return (
            self.body["payment_token"] == GOOD_CARD
            and self.body["shipping_address"]["postal_code"] != NOWHERE
            and not any(line["sku"] in SCARCE for line in self.body["lines"])
        )

    def asked(self, what: str) -> Errand | None:
        """What was asked for, if it was sent at all."""
        return next((errand for errand in self.errands if errand.what == what and errand.answers), None)


def is_final(answer: Answer) -> bool:
    """A refusal that no repetition changes; a lost answer, 429 and 5xx are not."""
    in_use = str(answer.body.get("type", "")).endswith("idempotency-key-in-use")
    return 400 <= answer.status < 500 and answer.status != 429 and not in_use


class Wishes:
    """Makes one wish after the other; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(f"shoppers {seed}")
        self.prefix = f"{seed}-{self.random.getrandbits(32):08x}"

    def make(self, number: int) -> Wish:
        pick = self.random
        skus = {self._one_of([(sku, weight) for sku, _, weight in STOCK]) for _ in range(pick.choice([1, 1, 2]))}
        errands = [self._errand(what) for what in self._one_of(AFTERWARDS)]
        body = {
            "email": f"{self.prefix}-{number}@example.org",
            "lines": [{"sku": sku, "quantity": pick.randint(1, 2)} for sku in sorted(skus)],
            "shipping_address": self._address("12 St James"),
            "payment_token": self._one_of(CARDS),
        }
        key = f"chaos-{self.prefix}-{number:06d}"
        return Wish(key, body, twin=pick.random() < 0.10, gives_up=pick.random() < 0.25, errands=errands)

    def _errand(self, what: str) -> Errand:
        pick = self.random
        return Errand(
            what,
            after=pick.uniform(0, 4),
            address=self._address(f"{pick.randint(1, 999)} Grand Canal"),
            accepted_goods=pick.random() < 0.75,
            breaks_one=pick.random() < 0.25,
        )

    def _address(self, line1: str) -> dict[str, str]:
        nowhere = self.random.random() < 0.04
        return {
            "name": "Ada",
            "line1": line1,
            "city": "Dublin",
            "postal_code": NOWHERE if nowhere else "D02",
            "country": "IE",
        }

    def _one_of(self, weighted: list[tuple[_T, int]]) -> _T:
        return self.random.choices([value for value, _ in weighted], [weight for _, weight in weighted])[0]
