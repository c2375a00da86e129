"""Who orders: seeded wishes, sent over HTTP, repeated under the same key until an answer comes, all written down."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from tests.chaos.world import World, http

PATH = "/api/v1/orders/"
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
LONGEST_PATIENCE = 90.0
AT_ONCE = 24


@dataclass
class Answer:
    """One answer, or its absence: status 0."""

    status: int
    body: dict[str, Any]
    sent_at: float
    came_at: float


@dataclass
class Wish:
    """One shopper's order, all its requests, and what came of them."""

    key: str
    body: dict[str, Any]
    twin: bool  # the same request a second time, at the same time
    gives_up: bool  # goes away when the answer is lost
    cancels_after: float | None  # changes their mind so many seconds after the order was accepted
    answers: list[Answer] = field(default_factory=list)
    cancel_answers: list[Answer] = field(default_factory=list)

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

    @property
    def asked_to_cancel(self) -> bool:
        return bool(self.cancel_answers)

    @property
    def cancel_accepted(self) -> bool:
        return any(answer.status == 202 for answer in self.cancel_answers)


def is_final(answer: Answer) -> bool:
    """A refusal that no repetition changes; a lost answer, 429 and 5xx are not."""
    in_use = str(answer.body.get("type", "")).endswith("idempotency-key-in-use")
    return 400 <= answer.status < 500 and answer.status != 429 and not in_use


class Shoppers:
    """Places orders at a rate until told to stop; those under way get some time to hear their answers."""

    def __init__(self, world: World, seed: int, per_second: float) -> None:
        self.world, self.per_second = world, per_second
        self.random = random.Random(f"shoppers {seed}")
        self.prefix = f"{seed}-{self.random.getrandbits(32):08x}"
        self.wishes: list[Wish] = []
        self.too_busy = 0
        self._stop = threading.Event()
        self._leave = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="shopper")
        self._under_way = threading.Semaphore(AT_ONCE)
        self._thread = threading.Thread(target=self._run, name="shoppers")

    def start(self) -> None:
        self._thread.start()

    def stop_placing(self) -> None:
        self._stop.set()
        self._thread.join()

    def leave(self) -> None:
        """No more repetitions: whoever still waits goes away without an answer."""
        self._stop.set()
        self._leave.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown()

    def hear_answers(self, seconds: float) -> None:
        """Wait for those under way, at most so long, then send them away."""
        end = time.monotonic() + seconds
        for _ in range(AT_ONCE):
            self._under_way.acquire(timeout=max(0.0, end - time.monotonic()))
        self.leave()

    def counts(self) -> dict[str, int]:
        answers = [answer for wish in self.wishes for answer in (*wish.answers, *wish.cancel_answers)]
        statuses = Counter(f"answer {answer.status or 'lost'}" for answer in answers)
        return {
            "orders wished": len(self.wishes),
            "orders accepted": sum(bool(wish.accepted) for wish in self.wishes),
            "requests repeated after a lost answer": sum(self._repeated(wish) for wish in self.wishes),
            "requests sent twice at once": sum(wish.twin for wish in self.wishes),
            "orders asked to be cancelled": sum(wish.asked_to_cancel for wish in self.wishes),
            "cancellations accepted": sum(wish.cancel_accepted for wish in self.wishes),
            "wishes not sent, too many under way": self.too_busy,
            **dict(sorted(statuses.items())),
        }

    @staticmethod
    def _repeated(wish: Wish) -> bool:
        return any(answer.status == 0 for answer in wish.answers) and not wish.gives_up

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            due += self.random.expovariate(self.per_second)
            wish = self._wish(len(self.wishes))
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            if not self._under_way.acquire(blocking=False):
                self.too_busy += 1
                continue
            self.wishes.append(wish)
            self._pool.submit(self._place, wish)

    def _wish(self, number: int) -> Wish:
        pick = self.random
        skus = {self._one_of([(sku, weight) for sku, _, weight in STOCK]) for _ in range(pick.choice([1, 1, 2]))}
        body = {
            "email": f"{self.prefix}-{number}@example.org",
            "lines": [{"sku": sku, "quantity": pick.randint(1, 2)} for sku in sorted(skus)],
            "shipping_address": {
                "name": "Ada",
                "line1": "12 St James",
                "city": "Dublin",
                "postal_code": NOWHERE if pick.random() < 0.04 else "D02",
                "country": "IE",
            },
            "payment_token": self._one_of(CARDS),
        }
        key = f"chaos-{self.prefix}-{number:06d}"
        return Wish(
            key,
            body,
            twin=pick.random() < 0.10,
            gives_up=pick.random() < 0.25,
            cancels_after=pick.uniform(0, 4) if pick.random() < 0.10 else None,
        )

    def _one_of(self, weighted: list[tuple[str, int]]) -> str:
        return self.random.choices([value for value, _ in weighted], [weight for _, weight in weighted])[0]

    def _place(self, wish: Wish) -> None:
        twin = threading.Thread(target=self.send, args=[wish]) if wish.twin else None
        try:
            if twin:
                twin.start()
            self._until_answered(wish)
            if wish.cancels_after is not None and wish.accepted and not self._leave.wait(wish.cancels_after):
                self._until(lambda: self._cancel(wish), lambda answer: 200 <= answer.status < 300 or is_final(answer))
        finally:
            if twin:
                twin.join()
            self._under_way.release()

    def _until_answered(self, wish: Wish) -> None:
        def is_enough(answer: Answer) -> bool:
            gone = answer.status == 0 and wish.gives_up
            return 200 <= answer.status < 300 or is_final(answer) or gone

        self._until(lambda: self.send(wish), is_enough)

    def _until(self, send: Callable[[], Answer], is_enough: Callable[[Answer], bool]) -> None:
        """Send again, less and less often, until the answer is enough or it is time to leave."""
        give_up_at = time.monotonic() + LONGEST_PATIENCE
        pause = 0.3
        while not is_enough(send()):
            if time.monotonic() > give_up_at or self._leave.wait(pause):
                return
            pause = min(pause * 1.7, 3.0)

    def send(self, wish: Wish) -> Answer:
        """One request of a wish; what came of it is kept."""
        wish.answers.append(answer := self._post(PATH, wish.body, {"Idempotency-Key": wish.key}))
        return answer

    def _cancel(self, wish: Wish) -> Answer:
        order = wish.accepted[0].body
        path, token = f"{PATH}{order['number']}/cancel/", order["access_token"]
        wish.cancel_answers.append(answer := self._post(path, {"reason": "changed my mind"}, {"X-Order-Token": token}))
        return answer

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        sent_at, status, told = time.time(), 0, {}
        with suppress(OSError, HTTPException):
            status, text, _ = http(self.world.port, "POST", path, body, headers)
            with suppress(ValueError):
                told = json.loads(text)
        return Answer(status, told if isinstance(told, dict) else {}, sent_at, time.time())
