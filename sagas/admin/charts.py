"""The dashboard's charts as values for templates, which draw them as SVG; each can be told in words."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.template.defaultfilters import pluralize

from sagas.admin.figures import BUCKETS, Ended, StepFigures, Window
from sagas.admin.words import look, span

# What a bar is made of, from its foot up. Its pattern says the same as its colour.
STACK = ("COMPLETED", "COMPENSATED", "ABANDONED")
BAR, FOOT, TALL, LEFT = 32, 22, 130, 48
STEP_BAR = 160


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a bar: so many sagas that ended in one way."""

    x: int
    y: int
    height: int
    status: str

    width = BAR - 4


@dataclass(frozen=True, slots=True)
class Rates:
    """Bars for what ended and a line for what started, in buckets of time."""

    pieces: list[Piece]
    started: str
    highest: int
    table: list[tuple[datetime, int, list[tuple[str, int]]]]
    legend: list[str]
    bucket: str
    begins: datetime
    ends: datetime
    words: str

    left, top, width, height = LEFT, 8, LEFT + BAR * BUCKETS + 8, TALL + FOOT + 12

    @property
    def foot(self) -> int:
        return self.top + TALL

    @property
    def label_y(self) -> int:
        return self.foot + 16

    @property
    def right(self) -> int:
        return self.width - 8


def rates_of(ended: Ended, asked: Window) -> Rates:
    stacks = [[ended.by_status.get(status, [0] * BUCKETS)[nth] for status in STACK] for nth in range(BUCKETS)]
    highest = max(1, *ended.started, *map(sum, stacks))
    pieces = [piece for nth, stack in enumerate(stacks) for piece in _pieces(nth, stack, highest)]
    legend = [look(status)[2] for status in STACK]
    ends = [f"{ended.total(status)} {look(status)[2].lower()}" for status in STACK]
    started = sum(ended.started)
    return Rates(
        pieces=pieces,
        started=" ".join(f"{_x(nth) + BAR // 2 - 2},{_y(count, highest)}" for nth, count in enumerate(ended.started)),
        highest=highest,
        table=[
            (asked.since + asked.bucket * nth, ended.started[nth], list(zip(legend, stacks[nth], strict=True)))
            for nth in range(BUCKETS)
        ],
        legend=legend,
        bucket=span(asked.bucket),
        begins=asked.since,
        ends=asked.until,
        words=f"In {span(asked.length)} {started} saga{pluralize(started)} started and {ended.total()} ended: "
        f"{', '.join(ends)}. At most {highest} in {span(asked.bucket)}.",
    )


def _pieces(nth: int, stack: list[int], highest: int) -> list[Piece]:
    pieces, below = [], 0
    for status, count in zip(STACK, stack, strict=True):
        if count:
            bottom, top = _y(below, highest), _y(below + count, highest)
            pieces.append(Piece(_x(nth), top, max(bottom - top, 1), status.lower()))
        below += count
    return pieces


def _x(nth: int) -> int:
    return LEFT + nth * BAR + 2


def _y(count: int, highest: int) -> int:
    return Rates.top + TALL - round(TALL * count / highest)


@dataclass(frozen=True, slots=True)
class StepLine:
    """A step with its figures in words, and the bars of its median and 95th percentile."""

    figures: StepFigures
    median: str
    slow: str
    median_width: int
    slow_width: int
    share_failed: str

    width = STEP_BAR + 2


def step_lines(steps: list[StepFigures]) -> list[StepLine]:
    slowest = max((step.slow for step in steps if step.slow), default=timedelta()) or timedelta(milliseconds=1)
    return [
        StepLine(
            figures=step,
            median=_took(step.median),
            slow=_took(step.slow),
            median_width=_width(step.median, slowest),
            slow_width=_width(step.slow, slowest),
            share_failed=share(step.failures, step.tries),
        )
        for step in steps
    ]


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent; nothing where there is no whole."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def _took(length: timedelta | None) -> str:
    return "–" if length is None else span(length)


def _width(length: timedelta | None, slowest: timedelta) -> int:
    return round(STEP_BAR * (length / slowest)) if length else 0
