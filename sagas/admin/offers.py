"""The operations as the pages offer them: what each is called and what it does, in an operator's words."""

from collections.abc import Iterable
from dataclasses import dataclass

from sagas.operations import Option


@dataclass(frozen=True, slots=True)
class Wording:
    """``button`` says what a person asks for, ``effect`` what the engine will then do.

    ``weight`` is how much there is at stake: it picks the look of the button.
    """

    button: str
    effect: str
    weight: str = "usual"


WORDINGS = {
    "retry": Wording(
        "Retry now", "Tries again now what failed or pauses. The attempts so far stay; their budget starts anew."
    ),
    "resolve": Wording(
        "Resolve outcome",
        "Says what became of a call whose outcome nobody knows. Find out at the other side first: "
        "the saga believes you.",
        weight="serious",
    ),
    "compensate": Wording(
        "Turn back", "Starts no further step and undoes what was done, in reverse order.", weight="serious"
    ),
    "pause": Wording(
        "Pause",
        "Starts nothing new until somebody resumes it. What is under way is still recorded; locks stay held.",
        weight="light",
    ),
    "resume": Wording("Resume", "Goes on where it was paused."),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """An operation on a page: open, or with the reason why not. ``steps``: those it could be about."""

    name: str
    button: str
    effect: str
    weight: str
    why_not: str
    steps: tuple[str, ...]

    @property
    def open(self) -> bool:
        return not self.why_not


def offers_of(options: Iterable[Option]) -> list[Offer]:
    """The options in the order of the pages."""
    by_name = {option.name: option for option in options}
    return [
        Offer(name, wording.button, wording.effect, wording.weight, by_name[name].why_not, by_name[name].steps)
        for name, wording in WORDINGS.items()
        if name in by_name
    ]
