"""The stops on an order's way, from the steps of the saga that carries it: what `progress` is made of."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_STATES_IN_WORDS = {
    "done": "done",
    "current": "now",
    "waiting": "waiting",
    "todo": "to come",
    "failed": "did not work",
    "undone": "given back",
}


class Words(NamedTuple):
    """A step that a shopper cares about: how it is called as it goes, and who is asked."""

    step: str
    done: str
    doing: str
    asked: str
    failed: str = ""
    undone: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stop on the way. ``state``: done, current, waiting, todo, failed, undone."""

    label: str
    state: str

    @property
    def in_words(self) -> str:
        return _STATES_IN_WORDS[self.state]


@dataclass(frozen=True, slots=True)
class Progress:
    """What to tell the shopper. ``live``: more is to come, ask again. ``tone``: working, waiting, good, bad.

    ``note`` says why something that was asked for came to nothing; ``offer`` is what can be asked for: cancel, return.
    """

    headline: str
    detail: str
    tone: str
    live: bool
    stages: tuple[Stage, ...]
    tracking: str = ""
    note: str = ""
    offer: str = ""
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        shown = (self.headline, self.detail, self.tone, self.live, self.stages, self.tracking, self.note, self.offer)
        object.__setattr__(self, "digest", hashlib.sha256(repr(shown).encode()).hexdigest()[:12])


def steps_of(saga: Any) -> dict[str, Any]:
    """The steps of a saga, or of none, by name."""
    return {step.name: step for step in saga.steps.all()} if saga else {}


def first_under_way(words: Iterable[Words], steps: Mapping[str, Any]) -> tuple[Words, bool] | None:
    """The first step that runs or waits, and whether it waits because it has to be tried again."""
    for each in words:
        step = steps.get(each.step)
        if step is None or step.action in ("SUCCEEDED", "SKIPPED"):
            continue
        if keeps_trying(step) or step.action == "RUNNING":
            return each, keeps_trying(step)
    return None


def state_of(step: Any) -> str:
    if step.compensation == "SUCCEEDED":
        return "undone"
    if step.action in ("SUCCEEDED", "SKIPPED"):
        return "done"
    if step.action == "FAILED":
        return "failed"
    if keeps_trying(step):
        return "waiting"
    return "current" if step.action == "RUNNING" else "todo"


def keeps_trying(step: Any) -> bool:
    return step.action in ("WAITING", "UNKNOWN") or (step.action == "RUNNING" and step.action_attempts > 1)


def with_a_current(stages: list[Stage]) -> list[Stage]:
    """Between two steps the next one is what the shopper waits for."""
    if any(stage.state in ("current", "waiting", "failed", "undone") for stage in stages):
        return stages
    following = next((place for place, stage in enumerate(stages) if stage.state == "todo"), None)
    if following is None:
        return stages
    return [*stages[:following], Stage(stages[following].label, "current"), *stages[following + 1 :]]
