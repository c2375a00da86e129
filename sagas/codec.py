"""Saga data and receipts as JSON: typed dataclasses, validated on the way in and out; nothing is pickled."""

import inspect
import json
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from typing import Any, get_type_hints

import msgspec

from sagas.plan import Plan, PlannedStep
from sagas.snapshot import SagaState
from sagas.states import DONE_ACTIONS
from sagas.steps import Remote, StepFunction

# What is nested deeper is stored by one stack, and is too deep for another that has to read it.
MAX_DEPTH = 200


class NestedTooDeep(ValueError):
    """Data, or a receipt, is nested deeper than every reader of it can follow. Store it flatter."""


def to_json(value: Any) -> Any:
    """What JSON makes of a dataclass, UUID, datetime, Decimal and the like. Raises `NestedTooDeep`.

    A saga that stays in memory has it as one that is loaded: with lists for tuples, and words for keys.
    """
    try:
        built = msgspec.to_builtins(value)
    except RecursionError as error:
        raise NestedTooDeep(f"It is nested deeper than {MAX_DEPTH} levels") from error
    level, is_json = [built], True
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for held in level:
            if isinstance(held, dict):
                is_json = is_json and set(map(type, held)) <= {str}
                inner += held.values()
            elif isinstance(held, list | tuple):
                is_json = is_json and isinstance(held, list)
                inner += held
        level = inner
        if not level:
            return built if is_json else json.loads(json.dumps(built))
    raise NestedTooDeep(f"It is nested deeper than {MAX_DEPTH} levels")


def from_json(kind: Any, value: Any) -> Any:
    """The typed value of stored JSON; raises `msgspec.ValidationError` naming the field that does not fit."""
    return msgspec.convert(value, kind, strict=False)


def receipt_type(step: PlannedStep) -> Any:
    """The annotated type of a step's receipt; ``NoneType`` when it has none, as the step that begins a saga."""
    return type(None) if step.begins else result_type(step.spec.action)


@cache
def result_type(function: StepFunction) -> Any:
    """The annotated type of what a step function returns; without an annotation it may be any JSON."""
    call = function.call if isinstance(function, Remote) else function
    return get_type_hints(call).get("return", Any)


@cache
def payload_type(step: PlannedStep) -> Any:
    """What a signal for this step has to carry: the annotated type of its action's second parameter."""
    names = list(inspect.signature(step.spec.action).parameters)
    return get_type_hints(step.spec.action).get(names[1], Any)


class Receipts(Mapping[str, Any]):
    """The receipts of a saga's finished steps by step name, decoded when they are asked for."""

    def __init__(self, plan: Plan, state: SagaState) -> None:
        self._plan, self._state = plan, state

    @cached_property
    def _steps(self) -> dict[str, tuple[PlannedStep, Any]]:
        return {
            step.name: (step, state.receipt)
            for step, state in zip(self._plan.steps, self._state.steps, strict=True)
            if state.action in DONE_ACTIONS
        }

    def __getitem__(self, name: str) -> Any:
        step, receipt = self._steps[name]
        return from_json(receipt_type(step), receipt)

    def __iter__(self) -> Iterator[str]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)
