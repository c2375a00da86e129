"""The operations as the pages offer them: what each is called and what it does, in an operator's words."""

from collections.abc import Iterable
from dataclasses import dataclass

from sagas.options import Option


@dataclass(frozen=True, slots=True)
class Wording:
    """``button`` says what a person asks for, ``effect`` what the engine will then do.

    ``weight`` is how much there is at stake: it picks the look of the button. ``about`` names what has to be
    chosen first, where anything has: a step or a lock.
    """

    button: str
    effect: str
    weight: str = "usual"
    about: str = ""


WORDINGS = {
    "retry": Wording(
        "Retry now", "Tries again now what failed or pauses. The attempts so far stay; their budget starts anew."
    ),
    "edit": Wording(
        "Edit and retry",
        "Gives the saga other data and tries again what failed, with new idempotency keys: to the other side it is a "
        "new request. What it was before is written down.",
        weight="serious",
    ),
    "resolve": Wording(
        "Resolve outcome",
        "Says what became of a call whose outcome nobody knows. Find out at the other side first: "
        "the saga believes you.",
        weight="serious",
        about="step",
    ),
    "confirm": Wording(
        "Confirm what was proposed",
        "So much is at stake that two people have to say the same. Somebody proposed what became of a call; find out "
        "for yourself before you confirm it.",
        weight="serious",
        about="step",
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
    "reschedule": Wording(
        "Move the time limit",
        "Moves the moment at which a step no longer waits, or takes it away. Moved to now, the wait is over.",
        about="step",
    ),
    "skip": Wording(
        "Skip a step",
        "Goes past a step that the plan lets people skip. It is neither done nor undone.",
        weight="serious",
        about="step",
    ),
    "waive": Wording(
        "Waive a compensation",
        "Accepts that an effect is left behind, writes that down, and goes on undoing the rest.",
        weight="serious",
        about="step",
    ),
    "release": Wording(
        "Release a lock",
        "Takes a lock from a saga that does not move and gives it to the next in line. What this saga began may still "
        "have an effect, and others see what it left half done. Before it goes on it waits for the lock again.",
        weight="serious",
        about="lock",
    ),
    "abandon": Wording(
        "Abandon",
        "Closes the saga for ever and lets go of its locks. Nothing more is done or undone: what it leaves behind is "
        "listed and raises attention until somebody reviews it.",
        weight="serious",
    ),
    "review": Wording("Mark as reviewed", "Says that somebody has looked after what asks for attention."),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """An operation on a page: open, or with the reason why not. ``targets``: what it could be about."""

    name: str
    button: str
    effect: str
    weight: str
    about: str
    why_not: str
    targets: tuple[str, ...]

    @property
    def open(self) -> bool:
        return not self.why_not


def offers_of(options: Iterable[Option]) -> list[Offer]:
    """The options in the order of the pages."""
    by_name = {option.name: option for option in options}
    return [
        Offer(name, w.button, w.effect, w.weight, w.about, by_name[name].why_not, by_name[name].targets)
        for name, w in WORDINGS.items()
        if name in by_name
    ]
