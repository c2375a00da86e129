"""Random plans: every kind of step, in sequence and in groups, with and without a pivot."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from sagas.definition import (
    Begin,
    Lock,
    NoCompensation,
    OnBug,
    Parallel,
    Pivot,
    RemoteStep,
    Retry,
    Step,
    remote,
    seconds,
)
from sagas.plan import Plan, plan_steps


@dataclass(frozen=True)
class Data: ...


Functions = Callable[[str, int], Callable[..., Any]]


def nothing(name: str, takes: int) -> Callable[..., Any]:
    """A step function of that name that does nothing."""
    function: Callable[..., Any] = (lambda ctx: None) if takes == 1 else (lambda ctx, receipt: None)
    function.__name__ = name
    return function


retries = st.builds(Retry, attempts=st.integers(1, 3), first=st.just(seconds(4)), cap=st.just(seconds(60)))
bug_rules = st.sampled_from(OnBug)


@st.composite
def _step(draw: st.DrawFn, name: str, functions: Functions, *, undoable: bool) -> Step:
    is_remote = draw(st.booleans())
    action = remote()(functions(name, 2)) if is_remote else functions(name, 1)
    words: dict[str, Any] = {"retry": draw(retries), "on_bug": draw(bug_rules), "skippable": draw(st.booleans())}
    if undoable:
        undo = functions(f"undo_{name}", 2)
        words |= draw(
            st.sampled_from(
                [
                    {"compensation": undo},
                    {"compensation": undo},
                    {"compensation": remote()(undo)},
                    {"compensation": remote()(undo)},
                    {"reads_only": True},
                    {"no_compensation": NoCompensation.ACCEPT},
                    {"no_compensation": NoCompensation.SUSPEND},
                ]
            )
        )
    return (RemoteStep if is_remote else Step)(action, **words)


@st.composite
def _places(draw: st.DrawFn, prefix: str, functions: Functions, *, undoable: bool, most: int) -> list[Step | Parallel]:
    places: list[Step | Parallel] = []
    for place, members in enumerate(draw(st.lists(st.sampled_from([1, 2]), max_size=most))):
        names = [f"{prefix}{place}_{member}" for member in range(members)]
        steps = [draw(_step(name, functions, undoable=undoable)) for name in names]
        places.append(steps[0] if members == 1 else Parallel(*steps))
    return places


@st.composite
def plans(draw: st.DrawFn, functions: Functions = nothing, locks: tuple[Lock[Any], ...] = ()) -> Plan:
    items: list[Step | Parallel] = []
    if draw(st.booleans()):
        items.append(Begin(functions("begin", 2), compensation=functions("undo_begin", 2)))
    items += draw(_places("a", functions, undoable=True, most=2))
    if draw(st.sampled_from([True, True, True, False])) or not items:
        is_remote = draw(st.booleans())
        action = remote()(functions("pivot", 2)) if is_remote else functions("pivot", 1)
        items.append(Pivot(action, retry=draw(retries), on_bug=draw(bug_rules)))
        items += draw(_places("z", functions, undoable=False, most=2))
    deadline = draw(st.sampled_from([None, seconds(20), seconds(50)]))
    return Plan("test.random", 1, Data, deadline, locks, plan_steps("test.random", items))
