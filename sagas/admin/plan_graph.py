"""The plan of a saga as a picture: forward lane, compensation lane beneath, and the line of no return.

Values for `parts/graph.html`, which draws them. The table of `plan_table` says the same in words.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from sagas.admin.plan_table import Place, StepRow
from sagas.admin.words import look
from sagas.states import ActionStatus, CompensationStatus

WIDTH, HEIGHT = 152, 56
BETWEEN, BENEATH = 28, 14
# Over a lane stands its name, and over a parallel group that it is one.
OVER = 40
EDGE = 12
# The line of no return needs room of its own.
LINE = 22
LONGEST_LINE = 18

_TO_COME = (ActionStatus.PENDING, CompensationStatus.NOT_NEEDED, CompensationStatus.PENDING)
# What the table says of a step that is PENDING, in a word.
_NOT_RUN = {"still to come": "To come", "never ran": "Never ran", "will not run": "Will not run"}


@dataclass(frozen=True, slots=True)
class Box:
    """One action or compensation. ``tone`` colours it; ``mark`` and ``word`` say the same without colour."""

    x: int
    y: int
    lines: list[tuple[int, str]]
    tone: str
    mark: str
    word: str
    title: str
    to_come: bool
    here: bool
    pivot: bool

    width, height = WIDTH, HEIGHT

    @property
    def middle(self) -> int:
        return self.x + WIDTH // 2

    @property
    def word_y(self) -> int:
        return self.y + HEIGHT - 10

    @property
    def hexagon(self) -> str:
        """The corners of a pivot, which has a shape of its own."""
        left, right, top, bottom = self.x, self.x + WIDTH, self.y, self.y + HEIGHT
        half, slope = self.y + HEIGHT // 2, 9
        corners = (
            (left, half),
            (left + slope, top),
            (right - slope, top),
            (right, half),
            (right - slope, bottom),
            (left + slope, bottom),
        )
        return " ".join(f"{x},{y}" for x, y in corners)


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one column to the next; ``gone`` where the saga went that way."""

    start: int
    end: int
    y: int
    gone: bool

    @property
    def head(self) -> str:
        back = 7 if self.end > self.start else -7
        return f"{self.end},{self.y} {self.end - back},{self.y - 5} {self.end - back},{self.y + 5}"


@dataclass(frozen=True, slots=True)
class Frame:
    """Around steps that run in parallel."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Graph:
    width: int
    height: int
    forward: list[Box]
    back: list[Box]
    arrows: list[Arrow]
    frames: list[Frame]
    line: int | None
    back_label_y: int
    words: str


Side = Callable[[int, int, StepRow, bool], Box]


def graph_of(places: list[Place]) -> Graph:
    """The picture of a plan's places as they stand."""
    columns = _columns(places)
    tallest = _tall(max((len(place.steps) for place in places), default=1))
    undone = [(x, [step for step in place.steps if step.compensation_name]) for x, place in columns]
    undone = [(x, steps) for x, steps in undone if steps]
    back_top = OVER + tallest + 32
    forward = [_lane(x, place.steps, OVER, tallest, _action, place.pivot) for x, place in columns]
    back_tall = _tall(max((len(steps) for _, steps in undone), default=0))
    back = [_lane(x, steps, back_top, back_tall, _compensation) for x, steps in undone]
    return Graph(
        width=columns[-1][0] + WIDTH + EDGE if columns else WIDTH,
        height=back_top + back_tall + EDGE if undone else OVER + tallest + EDGE,
        forward=[box for boxes in forward for box in boxes],
        back=[box for boxes in back for box in boxes],
        arrows=[*_ahead(forward, OVER + tallest // 2), *_behind(back, back_top + back_tall // 2)],
        frames=[_frame(boxes) for boxes in (*forward, *back) if len(boxes) > 1],
        line=next((x + WIDTH + (BETWEEN + LINE) // 2 for x, place in columns if place.pivot), None),
        back_label_y=back_top - 11,
        words=_words(places),
    )


def _columns(places: list[Place]) -> list[tuple[int, Place]]:
    """Each place with where it begins."""
    columns, x = [], EDGE
    for place in places:
        columns.append((x, place))
        x += WIDTH + BETWEEN + (LINE if place.pivot else 0)
    return columns


def _tall(count: int) -> int:
    return count * HEIGHT + max(count - 1, 0) * BENEATH


def _lane(x: int, steps: list[StepRow], top: int, tall: int, side: Side, pivot: bool = False) -> list[Box]:
    """The boxes of one place, around the middle of their lane."""
    first = top + (tall - _tall(len(steps))) // 2
    return [side(x, first + nth * (HEIGHT + BENEATH), step, pivot) for nth, step in enumerate(steps)]


def _action(x: int, y: int, step: StepRow, pivot: bool) -> Box:
    tone, mark, word = look(step.action_status)
    notes = [word.lower(), *step.action_notes, *(["the saga is here"] if step.current else [])]
    to_come = step.action_status in _TO_COME
    title = f"{step.name}: {', '.join(notes)}"
    word = _often(next((_NOT_RUN[note] for note in step.action_notes if note in _NOT_RUN), word), step.action_attempts)
    here = step.current and step.compensation_status in _TO_COME
    return Box(x, y, _lines(step.name, y), tone, mark, word, title, to_come, here, pivot)


def _compensation(x: int, y: int, step: StepRow, pivot: bool) -> Box:
    tone, mark, word = look(step.compensation_status, compensation=True)
    title = f"{step.compensation_name} for {step.name}: {', '.join([word.lower(), *step.compensation_notes])}"
    to_come = step.compensation_status in _TO_COME
    here = step.current and not to_come
    word = _often(word, step.compensation_attempts)
    return Box(x, y, _lines(step.compensation_name, y), tone, mark, word, title, to_come, here, pivot)


def _often(word: str, attempts: int) -> str:
    return f"{word} ×{attempts}" if attempts > 1 else word


def _lines(name: str, y: int) -> list[tuple[int, str]]:
    """A name on one line or two, broken where a word ends, each with its height."""
    if len(name) <= LONGEST_LINE:
        return [(y + 23, name)]
    cut = name.rfind("_", 0, LONGEST_LINE) + 1 or LONGEST_LINE
    rest = name[cut:]
    return [(y + 17, name[:cut]), (y + 31, rest if len(rest) <= LONGEST_LINE else f"{rest[: LONGEST_LINE - 1]}…")]


def _ahead(lane: list[list[Box]], y: int) -> Iterable[Arrow]:
    for before, after in pairwise(lane):
        yield Arrow(before[0].x + WIDTH + 3, after[0].x - 3, y, any(not box.to_come for box in after))


def _behind(lane: list[list[Box]], y: int) -> Iterable[Arrow]:
    for before, after in pairwise(lane):
        yield Arrow(after[0].x - 3, before[0].x + WIDTH + 3, y, any(not box.to_come for box in before))


def _frame(boxes: list[Box]) -> Frame:
    x, y, around = boxes[0].x, boxes[0].y, 6
    return Frame(x - around, y - around, WIDTH + 2 * around, _tall(len(boxes)) + 2 * around)


def _words(places: list[Place]) -> str:
    """The picture for who does not see it. The table that follows says more."""
    undone = [step for place in reversed(places) for step in reversed(place.steps) if step.compensation_name]
    back = ", ".join(
        f"{step.compensation_name} {look(step.compensation_status, compensation=True)[2].lower()}" for step in undone
    )
    ahead = ", ".join(map(_of_place, places))
    return f"Forward: {ahead}. " + (f"Way back: {back}." if back else "Nothing is undone.")


def _of_place(place: Place) -> str:
    steps = " and ".join(f"{step.name} {look(step.action_status)[2].lower()}" for step in place.steps)
    together = "in parallel " if place.parallel else ""
    return f"{together}{steps}{' (the point of no return)' if place.pivot else ''}"
