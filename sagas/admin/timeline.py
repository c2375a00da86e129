"""The attempts of a saga on a line of time: a row for each action and compensation, a bar for each try.

Values for `parts/timeline.html`. The table of attempts says the same in words.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.template.defaultfilters import pluralize
from django.utils.timezone import now

from sagas.admin.words import look, span
from sagas.models import SagaInstance, StepAttempt
from sagas.states import Side

LABELS, LINE, RIGHT = 230, 960, 40
TOP, ROW = 28, 26
THINNEST = 3
TICKS = 5


@dataclass(frozen=True, slots=True)
class Bar:
    x: int
    width: int
    tone: str
    mark: str
    title: str

    @property
    def mark_x(self) -> int:
        return self.x + self.width + 4


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """``waits``: from when to when nothing was tried although the next try was still to come."""

    label: str
    y: int
    bars: list[Bar]
    waits: list[tuple[int, int]]

    height = ROW

    @property
    def text_y(self) -> int:
        return self.y + 17

    @property
    def bar_y(self) -> int:
        return self.y + 5

    @property
    def wait_y(self) -> int:
        return self.y + ROW // 2


@dataclass(frozen=True, slots=True)
class Timeline:
    width: int
    height: int
    rows: list[TimelineRow]
    ticks: list[tuple[int, str]]
    words: str


def timeline_of(saga: SagaInstance, attempts: Iterable[StepAttempt]) -> Timeline:
    """The attempts that are shown, from the start of the saga to its end, or to this moment."""
    end = saga.ended_at or now()
    known = sorted(attempts, key=lambda attempt: (attempt.started_at, attempt.pk))
    begin = saga.created_at
    scale = _Scale(begin, max(end - begin, timedelta(milliseconds=1)))
    tracks: dict[tuple[str, str], list[StepAttempt]] = {}
    for attempt in known:
        tracks.setdefault((attempt.step, attempt.side), []).append(attempt)
    waiting = saga.waiting_on or {}
    rows = [
        _row(nth, step, side, tried, scale, end if (step, side) == (waiting.get("step"), waiting.get("side")) else None)
        for nth, ((step, side), tried) in enumerate(tracks.items())
    ]
    return Timeline(
        width=LABELS + LINE + RIGHT,
        height=TOP + len(rows) * ROW + 6,
        rows=rows,
        ticks=[(LABELS + LINE * nth // TICKS, f"+{span(scale.length * nth / TICKS)}") for nth in range(TICKS + 1)],
        words=f"{len(known)} attempt{pluralize(known)} in {span(scale.length)}: " + "; ".join(map(_in_words, known)),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    begin: datetime
    length: timedelta

    def x(self, at: datetime) -> int:
        share = (at - self.begin) / self.length
        return LABELS + round(LINE * min(max(share, 0), 1))


def _row(
    nth: int, step: str, side: str, tried: list[StepAttempt], scale: _Scale, waits: datetime | None
) -> TimelineRow:
    bars = [_bar(attempt, scale) for attempt in tried]
    starts = [scale.x(attempt.started_at) for attempt in tried[1:]] + ([scale.x(waits)] if waits else [])
    gaps = [(bar.x + bar.width, start) for bar, start in zip(bars, starts, strict=False)]
    label = step if side == Side.ACTION else f"◀ {step}, compensation"
    label = label if len(label) <= 34 else f"{label[:33]}…"
    return TimelineRow(label, TOP + nth * ROW, bars, [(start, end) for start, end in gaps if end > start])


def _bar(attempt: StepAttempt, scale: _Scale) -> Bar:
    x = scale.x(attempt.started_at)
    width = max(scale.x(attempt.ended_at or now()) - x, THINNEST)
    back = attempt.side == Side.COMPENSATION
    tone, mark, _ = look(attempt.outcome or "RUNNING", compensation=back and not attempt.outcome)
    return Bar(x, width, tone, mark, f"{_in_words(attempt)}, at {attempt.started_at:%H:%M:%S}")


def _in_words(attempt: StepAttempt) -> str:
    of = "compensation of " if attempt.side == Side.COMPENSATION else ""
    word = look(attempt.outcome or "RUNNING")[2].lower()
    took = f" after {span(attempt.ended_at - attempt.started_at)}" if attempt.ended_at else ""
    return f"{of}{attempt.step}, attempt {attempt.number}: {word}{took}"
