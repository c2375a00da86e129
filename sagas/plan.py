"""A plan as the engine reads it, and the rules it keeps. Pure.

The rules are those of Garcia-Molina and Salem ("Sagas", 1987) and of Richardson ("Microservices
Patterns", chapter 4): compensatable steps, then at most one pivot, then retriable steps.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from sagas.states import Side
from sagas.steps import (
    Await,
    Begin,
    LateSignal,
    Lock,
    NoCompensation,
    Parallel,
    Pivot,
    Remote,
    RemoteStep,
    Sleep,
    Step,
    StepFunction,
    name_of,
)

# What the column of a step's name holds.
MAX_NAME = 100


class DefinitionError(Exception):
    """A plan breaks a rule of sagas; the message is a sentence with the fix in it."""


class Kind(StrEnum):
    COMPENSATABLE = "COMPENSATABLE"
    PIVOT = "PIVOT"
    RETRIABLE = "RETRIABLE"


@dataclass(frozen=True)
class PlannedStep:
    """A step at its position in a plan. Steps that share a ``place`` run in parallel."""

    position: int
    place: int
    name: str
    kind: Kind
    spec: Step

    @property
    def pivot(self) -> bool:
        return self.kind is Kind.PIVOT

    @property
    def has_effect(self) -> bool:
        """Whether going backward has to do anything about this step."""
        return not self.spec.reads_only and self.spec.no_compensation is not NoCompensation.ACCEPT

    @cached_property
    def begins(self) -> bool:
        """Whether the saga's own start was this step, so that it is done from the outset."""
        return isinstance(self.spec, Begin)

    @cached_property
    def awaits(self) -> bool:
        """Whether it waits for a signal."""
        return isinstance(self.spec, Await)

    @cached_property
    def wait(self) -> "Await | Sleep | None":
        """What is waited for before the action may run, if anything is."""
        return self.spec if isinstance(self.spec, Await | Sleep) else None

    def function(self, side: Side) -> StepFunction | None:
        return self.spec.action if side is Side.ACTION else self.spec.compensation

    def is_remote(self, side: Side) -> bool:
        return isinstance(self.function(side), Remote)


@dataclass(frozen=True)
class Plan:
    """What the engine reads of a `Saga` class."""

    name: str
    version: int
    data_type: type
    deadline: timedelta | None
    locks: tuple[Lock[Any], ...]
    steps: tuple[PlannedStep, ...]
    late_signal: LateSignal | Callable[[str, Any], object] = LateSignal.ATTENTION

    @cached_property
    def awaits(self) -> bool:
        """Whether any of its steps waits for a signal."""
        return any(step.awaits for step in self.steps)

    def place(self, place: int) -> Iterator[PlannedStep]:
        return (step for step in self.steps if step.place == place)

    def step(self, name: str) -> PlannedStep:
        return next(step for step in self.steps if step.name == name)


def plan_steps(saga: str, items: Sequence[Step | Parallel]) -> tuple[PlannedStep, ...]:
    """Number the steps of a plan and check its rules; raises `DefinitionError` with the fix."""
    steps = tuple(_planned(saga, items))
    for rule in _RULES:
        rule(saga, steps)
    return steps


def _planned(saga: str, items: Sequence[Step | Parallel]) -> Iterator[PlannedStep]:
    position, passed_pivot = 0, False
    for place, item in enumerate(items):
        for spec in item.members if isinstance(item, Parallel) else (item,):
            if not isinstance(spec, Step):
                raise DefinitionError(f"{saga}: {spec!r} is not a step; wrap it in Step(...) or one of its kinds.")
            pivot = isinstance(spec, Pivot)
            if pivot and isinstance(item, Parallel):
                raise DefinitionError(f"{saga}: a pivot cannot be parallel; give it a place of its own.")
            kind = Kind.PIVOT if pivot else Kind.RETRIABLE if passed_pivot else Kind.COMPENSATABLE
            passed_pivot = passed_pivot or pivot
            yield PlannedStep(position, place, name_of(spec.action), kind, spec)
            position += 1


def _names_are_unique(saga: str, steps: tuple[PlannedStep, ...]) -> None:
    names = [step.name for step in steps]
    if not names:
        raise DefinitionError(f"{saga} has no steps; add at least one.")
    for name in names:
        if not name.isidentifier():
            raise DefinitionError(f"{saga}: {name!r} cannot name a step; use a named function, not a lambda.")
        if len(name) > MAX_NAME:
            raise DefinitionError(
                f"{saga}: {name} is longer than the {MAX_NAME} characters that are stored; give it a shorter name."
            )
        if names.count(name) > 1:
            raise DefinitionError(f"{saga}: {name} is there twice; steps are known by name, so give it another one.")


def _one_pivot(saga: str, steps: tuple[PlannedStep, ...]) -> None:
    pivots = [step.name for step in steps if isinstance(step.spec, Pivot)]
    if len(pivots) > 1:
        raise DefinitionError(f"{saga}: {' and '.join(pivots)} are both pivots; a path has at most one.")


def _compensations_stand_before_the_pivot(saga: str, steps: tuple[PlannedStep, ...]) -> None:
    for step in steps:
        spec = step.spec
        if step.kind is Kind.COMPENSATABLE:
            answers = [spec.compensation is not None, spec.no_compensation is not None, spec.reads_only]
            if sum(answers) != 1:
                raise DefinitionError(
                    f"{saga}: {step.name} stands before the pivot, so it needs exactly one of a compensation, "
                    "no_compensation=SUSPEND or ACCEPT, or reads_only=True."
                )
        elif spec.compensation is not None:
            raise DefinitionError(
                f"{saga}: {step.name} is never undone ({step.kind}), so take its compensation away "
                "or move it before the pivot."
            )


def _functions_fit(saga: str, steps: tuple[PlannedStep, ...]) -> None:
    for step in steps:
        spec = step.spec
        is_remote = isinstance(spec.action, Remote)
        if isinstance(spec, RemoteStep) and not is_remote:
            raise DefinitionError(f"{saga}: {step.name} is in a RemoteStep, so decorate it with @remote().")
        if is_remote and not isinstance(spec, RemoteStep | Pivot):
            raise DefinitionError(f"{saga}: {step.name} is @remote, so put it into a RemoteStep or a Pivot.")
        if spec.check is not None and not is_remote:
            raise DefinitionError(f"{saga}: {step.name} is local and never unknown, so take its check away.")
        if isinstance(spec, Begin):
            if step.position or [s.place for s in steps].count(step.place) > 1:
                raise DefinitionError(f"{saga}: {step.name} is in a Begin, so it has to be the first step.")
        else:
            _takes(saga, spec.action, 2 if is_remote or isinstance(spec, Await) else 1)
            _hooks_fit(saga, spec.action, 1)
        if spec.compensation is not None:
            _takes(saga, spec.compensation, 2)
            _hooks_fit(saga, spec.compensation, 2)
        if spec.check is not None:
            _takes(saga, spec.check, 2)
        if spec.retry.attempts < 1:
            raise DefinitionError(f"{saga}: {step.name} needs at least one attempt, so set retry to Retry(attempts=1).")


def _hooks_fit(saga: str, function: StepFunction, prepare_takes: int) -> None:
    """What runs in the two commits round a call is found out there, after the money moved, if not here."""
    if isinstance(function, Remote):
        for hook, count in ((function.prepare, prepare_takes), (function.record, 2), (function.refused, 2)):
            if hook is not None:
                _takes(saga, hook, count)


def _takes(saga: str, function: StepFunction, count: int) -> None:
    call = function.call if isinstance(function, Remote) else function
    try:
        inspect.signature(call).bind(*range(count))
    except TypeError:
        words = "(ctx)" if count == 1 else "(ctx, receipt or request)"
        raise DefinitionError(f"{saga}: {name_of(function)} has to take {words}.") from None


def _what_decides_is_never_skipped(saga: str, steps: tuple[PlannedStep, ...]) -> None:
    for step in steps:
        if step.spec.skippable and (step.pivot or step.begins):
            raise DefinitionError(f"{saga}: {step.name} cannot be missed, so take skippable=True away.")


_RULES = (
    _names_are_unique,
    _one_pivot,
    _compensations_stand_before_the_pivot,
    _functions_fit,
    _what_decides_is_never_skipped,
)
