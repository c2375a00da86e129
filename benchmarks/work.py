"""The orders of a round, as data; the same for every contender. No Django here: peers import it as well."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

PRODUCTS = 50
STOCK = 1_000_000_000


@dataclass(frozen=True)
class Batch:
    """``count`` orders from number ``first`` on, of which ``percent`` in a hundred are declined, evenly.

    ``pause`` is how many seconds to wait before each order, for the measurement at low load, and ``delay``
    before the first, so that parts of one batch take turns.
    """

    first: int
    count: int
    percent: int = 0
    pause: float = 0
    delay: float = 0

    def split(self, parts: int) -> "list[Batch]":
        edges = [self.first + self.count * part // parts for part in range(parts + 1)]
        return [
            Batch(start, end - start, self.percent, self.pause, delay=self.pause * part / parts)
            for part, (start, end) in enumerate(pairwise(edges))
        ]

    def orders(self) -> Iterator[tuple[str, int, int, int, bool]]:
        """Number, product, quantity, cents, declined. Products are drawn, so that rows are contended for."""
        draw = random.Random(self.first)  # noqa: S311 - the same in every run
        for nth in range(self.first, self.first + self.count):
            yield f"B{nth:09}", draw.randint(1, PRODUCTS), 1, 1_000 + nth % 97, nth * self.percent % 100 < self.percent
