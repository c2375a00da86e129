"""Boundaries: the places a run passes, found by running it, and who does something at one of them."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from django.db import connection

Trigger = Callable[["Boundary", int], bool]
Answer = Callable[[], Exception]


@dataclass(frozen=True, slots=True)
class Boundary:
    """The ``nth`` time that a run passes one point of the engine."""

    name: str
    nth: int = 1
    in_transaction: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return self.name if self.nth == 1 else f"{self.name} #{self.nth}"

    def is_at(self, *patterns: str) -> bool:
        """Whether the name fits one of the patterns, in which ``*`` stands for one word: ``call:*:action:before``."""
        words = self.name.split(":")
        return any(
            len(words) == len(pattern.split(":"))
            and all(wanted in ("*", word) for wanted, word in zip(pattern.split(":"), words, strict=True))
            for pattern in patterns
        )


@dataclass
class Saboteur:
    """Listens to the points of one run: keeps all it passes, and acts where it should.

    ``standing`` are answers that every pass of a point gets, such as a pivot that is always refused.
    """

    standing: Mapping[str, Answer] = field(default_factory=dict)
    trigger: Trigger = lambda here, count: False
    act: Callable[[], None] = lambda: None
    passed: list[Boundary] = field(default_factory=list)
    struck: bool = False
    _counts: Counter[str] = field(default_factory=Counter)
    _busy: bool = False

    def __call__(self, name: str) -> None:
        if self._busy:
            return
        self._counts[name] += 1
        here = Boundary(name, self._counts[name], connection.in_atomic_block)
        self.passed.append(here)
        if not self.struck and self.trigger(here, len(self.passed)):
            self.struck = self._busy = True
            try:
                self.act()
            finally:
                self._busy = False
        if name in self.standing:
            raise self.standing[name]()
