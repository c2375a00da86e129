"""How a saga is defined: a class with a name, a version and its steps. Checked on import. Pure.

A plan is data: engine, dashboard, documentation and tests read the same table.
"""

from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from datetime import timedelta
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from sagas.plan import DefinitionError, Plan, plan_steps
from sagas.steps import (
    Await,
    AwaitPerson,
    Begin,
    Context,
    Failure,
    LateSignal,
    Lock,
    NoCompensation,
    OnBug,
    OnTimeout,
    Parallel,
    Pivot,
    Remote,
    RemoteStep,
    Retry,
    Sleep,
    Step,
    minutes,
    remote,
    seconds,
)

__all__ = [
    "Await",
    "AwaitPerson",
    "Begin",
    "Context",
    "DefinitionError",
    "Failure",
    "LateSignal",
    "Lock",
    "NoCompensation",
    "OnBug",
    "OnTimeout",
    "Parallel",
    "Pivot",
    "Plan",
    "Remote",
    "RemoteStep",
    "Retry",
    "Saga",
    "Sleep",
    "Step",
    "minutes",
    "newest",
    "registry",
    "remote",
    "seconds",
]

D = TypeVar("D")

registry: dict[tuple[str, int], Plan] = {}


def newest(name: str) -> Plan | None:
    """The plan of the highest version registered under a name."""
    return max((plan for (n, _), plan in registry.items() if n == name), key=lambda p: p.version, default=None)


class Saga(Generic[D]):
    """Subclass it with ``name``, ``version`` and ``steps`` to define a saga over the dataclass ``D``."""

    name: ClassVar[str]
    version: ClassVar[int]
    steps: ClassVar[Sequence[Step | Parallel]]
    deadline: ClassVar[timedelta | None] = None
    locks: ClassVar[Sequence[Lock[Any]]] = ()
    # A function gets the business key and the payload, and may start another saga.
    late_signal: ClassVar[LateSignal | Callable[[str, Any], object]] = LateSignal.ATTENTION
    plan: ClassVar[Plan]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        plan = _plan_of(cls)
        other = registry.get((plan.name, plan.version))
        if other is not None and _outline(other) != _outline(plan):
            raise DefinitionError(f"{plan.name} version {plan.version} is defined twice; raise `version`.")
        registry[plan.name, plan.version] = plan
        cls.plan = plan


def _outline(plan: Plan) -> list[tuple[str, str, int]]:
    return [(step.name, step.kind, step.place) for step in plan.steps]


def _plan_of(cls: type[Saga[Any]]) -> Plan:
    missing = [word for word in ("name", "version", "steps") if not hasattr(cls, word)]
    if missing:
        raise DefinitionError(f"{cls.__name__} needs {', '.join(missing)}.")
    if not isinstance(cls.version, int) or cls.version < 1:
        raise DefinitionError(f"{cls.__name__} has version {cls.version!r}; number versions from 1.")
    return Plan(
        name=cls.name,
        version=cls.version,
        data_type=_data_type(cls),
        deadline=cls.deadline,
        locks=tuple(cls.locks),
        late_signal=cls.late_signal,
        steps=plan_steps(cls.name, cls.steps),
    )


def _data_type(cls: type[Saga[Any]]) -> type:
    for parent in getattr(cls, "__orig_bases__", ()):
        if get_origin(parent) is Saga:
            (data_type,) = get_args(parent)
            if isinstance(data_type, type) and is_dataclass(data_type):
                return data_type
    raise DefinitionError(f"{cls.__name__} has to say its data: `class {cls.__name__}(Saga[YourDataclass])`.")
