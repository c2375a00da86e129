"""A part of many cases, drawn with a seed so that nothing is left out for good."""

import random
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

C = TypeVar("C")


def drawn(cases: Sequence[C], share: float, draw: random.Random, *kinds: Callable[[C], Hashable]) -> list[C]:
    """``share`` of the ``cases``, in their order; a share of 1 is all of them.

    One of each of the first of ``kinds`` is always among them, then as many as fit of those that are new
    of the next kinds, then any.
    """
    shuffled = draw.sample(range(len(cases)), len(cases))
    ranked: dict[int, None] = {}
    least = 0
    for kind in kinds:
        seen = {kind(cases[n]) for n in ranked}
        for n in shuffled:
            if kind(cases[n]) not in seen:
                seen.add(kind(cases[n]))
                ranked[n] = None
        least = least or len(ranked)
    ranked.update(dict.fromkeys(shuffled))
    most = max(least, round(share * len(cases)))
    return [cases[n] for n in sorted(list(ranked)[:most])]
