"""The ways through a plan that are broken, and what may come of it. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sagas.plan import Kind, Plan
from sagas.states import SagaStatus, Side
from sagas.steps import NoCompensation
from sagas.testing.boundaries import Answer, Boundary
from sagas.testing.disturbances import Disturbance


@dataclass(frozen=True, slots=True)
class Second:
    """A disturbance of the worker that carries on: at the ``place``-th point it passes, or at a boundary."""

    disturbance: Disturbance
    place: int | Boundary

    def strikes(self, here: Boundary, count: int) -> bool:
        return self.place in (here, count)

    def __str__(self) -> str:
        at = f"place {self.place}" if isinstance(self.place, int) else self.place
        return f"{self.disturbance.name} at {at}"


@dataclass(frozen=True, slots=True)
class Way:
    """One way through the plan: forward, or back because its last step before the end is always refused."""

    name: str
    standing: dict[str, Answer]
    boundaries: tuple[Boundary, ...] = ()
    end: str = ""


def refusal(plan: Plan, passed: Iterable[Boundary]) -> str:
    """The place at which the pivot says no, or without one the last action: the way back is the longest then."""
    entries = [
        f"call:{step.name}:action:before" if step.is_remote(Side.ACTION) else f"step:{step.name}:action:entry"
        for step in plan.steps
        if step.pivot or not any(other.pivot for other in plan.steps)
    ]
    names = {here.name for here in passed}
    return next((entry for entry in reversed(entries) if entry in names), "")


def never_passed(plan: Plan, passed: Collection[str]) -> list[str]:
    """Halves of steps that no way passes, so that nothing is proved of them."""
    halves = [
        (step.name, side)
        for step in plan.steps
        for side in Side
        if step.function(side) is not None and not (step.begins and side is Side.ACTION)
    ]
    return [f"{name} {side}" for name, side in halves if not any(_is_of(here, name, side) for here in passed)]


def _is_of(here: str, name: str, side: Side) -> bool:
    return here.split(":")[1:3] == [name, str(side)]


def ends_of(plan: Plan, first: Disturbance, here: Boundary | None = None) -> tuple[str, ...]:
    """Where a saga may end that is disturbed ``here``.

    Who is turned back may wait for a person, where a step says that only one can undo it.
    """
    ends = _ends_at(plan, first, here)
    asks = any(step.spec.no_compensation is NoCompensation.SUSPEND for step in plan.steps)
    return (*ends, SagaStatus.SUSPENDED) if asks and SagaStatus.COMPENSATED in ends else ends


def _ends_at(plan: Plan, first: Disturbance, here: Boundary | None) -> tuple[str, ...]:
    if here is None or not first.ends_past_pivot:
        return first.ends
    kind = next((step.kind for step in plan.steps if step.name == here.name.split(":")[1]), None)
    if kind is None:  # a step of another saga
        return first.ends + first.ends_past_pivot
    return first.ends_past_pivot if kind is Kind.RETRIABLE else first.ends
