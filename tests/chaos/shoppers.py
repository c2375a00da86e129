"""Who orders: wishes are sent over HTTP, repeated under the same key until an answer comes, all written down."""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.chaos.client import Client
from tests.chaos.errands import Errands
from tests.chaos.wishes import AFTERWARDS, Answer, Wish, Wishes, is_final
from tests.chaos.world import World

AT_ONCE = 24
RETURNS_AT_ONCE = 12
ERRANDS = sorted({what for whats, _ in AFTERWARDS for what in whats})


class Shoppers:
    """Places orders at a rate until told to stop; those under way get some time to hear their answers."""

    def __init__(self, world: World, seed: int, per_second: float) -> None:
        self.per_second = per_second
        self.client = Client(world)
        self.errands = Errands(self.client)
        self.wishes: list[Wish] = []
        self.too_busy = 0
        self._make = Wishes(seed).make
        self._random = random.Random(f"arrivals {seed}")
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="shopper")
        # A return waits long, so that it must not keep others from ordering.
        self._returns = ThreadPoolExecutor(RETURNS_AT_ONCE, thread_name_prefix="return")
        self._under_way = threading.Semaphore(AT_ONCE)
        self._thread = threading.Thread(target=self._run, name="shoppers")

    def start(self) -> None:
        self.errands.log_in()
        self._thread.start()

    def stop_placing(self) -> None:
        self._stop.set()
        self._thread.join()

    def hear_answers(self, seconds: float) -> None:
        """Wait for those under way, at most so long, then send them away without an answer.

        What is on its way back to the shop is still looked at.
        """
        end = time.monotonic() + seconds
        for _ in range(AT_ONCE):
            self._under_way.acquire(timeout=max(0.0, end - time.monotonic()))
        while time.monotonic() < end and not self._is_returned():
            time.sleep(0.2)
        self.client.leave.set()
        self._pool.shutdown()
        self._returns.shutdown()

    def counts(self) -> dict[str, int]:
        asked = {what: [errand for wish in self.wishes if (errand := wish.asked(what))] for what in ERRANDS}
        answers = [answer for wish in self.wishes for answer in wish.answers]
        answers += [answer for wish in self.wishes for errand in wish.errands for answer in errand.answers]
        statuses = Counter(f"answer {answer.status or 'lost'}" for answer in answers)
        return {
            "orders wished": len(self.wishes),
            "orders accepted": sum(bool(wish.accepted) for wish in self.wishes),
            "requests repeated after a lost answer": sum(self._repeated(wish) for wish in self.wishes),
            "requests sent twice at once": sum(wish.twin for wish in self.wishes),
            **{f"{what} asked for": len(errands) for what, errands in asked.items()},
            **{f"{what} accepted": sum(errand.accepted for errand in errands) for what, errands in asked.items()},
            "returns inspected": sum(errand.is_inspected for errand in asked["return"]),
            "wishes not sent, too many under way": self.too_busy,
            **dict(sorted(statuses.items())),
        }

    def _is_returned(self) -> bool:
        return any(errand.is_inspected for wish in self.wishes for errand in wish.errands)

    @staticmethod
    def _repeated(wish: Wish) -> bool:
        return any(answer.status == 0 for answer in wish.answers) and not wish.gives_up

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            due += self._random.expovariate(self.per_second)
            wish = self._make(len(self.wishes))
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            if not self._under_way.acquire(blocking=False):
                self.too_busy += 1
                continue
            self.wishes.append(wish)
            self._pool.submit(self._place, wish)

    def _place(self, wish: Wish) -> None:
        twin = threading.Thread(target=self.send, args=[wish]) if wish.twin else None
        try:
            if twin:
                twin.start()
            self._until_answered(wish)
            for errand in wish.errands if wish.accepted else ():
                if errand.what == "return":
                    self._returns.submit(self.errands.carry_out, wish, errand)
                else:
                    self.errands.carry_out(wish, errand)
        finally:
            if twin:
                twin.join()
            self._under_way.release()

    def _until_answered(self, wish: Wish) -> None:
        def is_enough(answer: Answer) -> bool:
            gone = answer.status == 0 and wish.gives_up
            return 200 <= answer.status < 300 or is_final(answer) or gone

        self.client.until(lambda: self.send(wish), is_enough)

    def send(self, wish: Wish) -> Answer:
        """One request of a wish; what came of it is kept."""
        wish.answers.append(answer := self.client.post("orders/", wish.body, {"Idempotency-Key": wish.key}))
        return answer
