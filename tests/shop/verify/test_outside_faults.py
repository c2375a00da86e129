"""Every request that a plan of the shop makes to the bank and the carrier, answered wrongly by the real processes.

What is asked is found by running a scenario once, forward and on its way back. Then each request meets
each fault, and the saga carries on, or is asked to turn back as soon as it has met it.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from sagas import services
from sagas.models import SagaInstance
from sagas.outcomes import Refused
from sagas.testing import Witness
from sagas.testing.boundaries import Answer, Saboteur
from sagas.testing.disturbances import DISTURBANCES
from sagas.testing.sample import drawn
from sagas.testing.ways import ends_of
from sagas.testing.witness import engine_violations, world_violations
from sagas.testing.workers import Child, drive, settle
from tests.sandbox.processes import SandboxProcess
from tests.shop.verify.scenarios import SCENARIOS, Scenario
from tests.shop.verify.world import ShopWorld
from tests.thinning import SEED, share_of, told

pytestmark = [pytest.mark.verify, pytest.mark.django_db(transaction=True)]

CANCEL = next(disturbance for disturbance in DISTURBANCES if disturbance.name == "cancel")
FAULTS = ("answer_lost", "error_after", "error", "late", "garbage", "twice", "down")
# Long enough for a late request to come when all is over: time does not pass in a verification.
LATE_S = 0.25
ROUNDS = 15
# The rest asks nobody, or nothing else than these.
SILENT = ("cancel, in line", "change of address, in line", "return, not accepted", "return, no parcel")


@dataclass(frozen=True)
class Case:
    """The ``nth`` request for one operation meets a fault. ``way`` as in `verify`."""

    way: str
    service: str
    operation: str
    nth: int
    fault: str
    cancel: bool

    def __str__(self) -> str:
        return f"{self.way}: {self.fault} at {self.service} {self.operation} #{self.nth + 1}" + ", cancel" * self.cancel


class Outside:
    """One scenario in its world."""

    def __init__(self, scenario: Scenario, world: ShopWorld) -> None:
        self.scenario, self.world = scenario, world
        self.services: dict[str, SandboxProcess] = {"bank": world.bank, "carrier": world.carrier}
        self.before = set(SagaInstance.objects.values_list("pk", flat=True))
        self.ends: dict[str, str] = {}
        self.when_completed: Witness | None = None

    def cases(self) -> Iterator[Case]:
        for way in self.scenario.ways:
            self.run(way)
            self.ends[way] = self.own().status
            if way == "forward":
                self.when_completed = self.world.witness()
            for name, service in self.services.items():
                for operation, times in service.asked().items():
                    for nth in range(times):
                        for fault in FAULTS:
                            yield Case(way, name, operation, nth, fault, cancel=False)
                            if "cancel" in self.scenario.disturbances:
                                yield Case(way, name, operation, nth, fault, cancel=True)

    def problems(self, case: Case) -> Iterator[str]:
        fault = {"fault": case.fault, "operation": case.operation, "after": case.nth, "seconds": LATE_S}
        child = self.run(case.way, (self.services[case.service], fault), cancel=case.cancel)
        if case.fault == "late":
            time.sleep(2 * LATE_S)
        yield from child.broke
        if self.services[case.service].fired() != {case.fault: 1}:
            yield "the fault did not happen"
        end = self.own().status
        if end not in {self.ends[case.way], *(ends_of(self.scenario.saga.plan, CANCEL) if case.cancel else ())}:
            yield f"it ended {end}"
        yield from engine_violations(list(SagaInstance.objects.exclude(pk__in=self.before)))
        yield from world_violations(self.scenario.saga.plan, end, self.world.witness(), self.when_completed)
        yield from self.world.violations()

    def run(
        self, way: str, fault: tuple[SandboxProcess, dict[str, object]] | None = None, *, cancel: bool = False
    ) -> Child:
        self.world.rebuild()
        for service in self.services.values():
            service.control(fault="reset")
        if fault is not None:
            fault[0].control(**fault[1])

        def body(_: Child) -> None:
            self.scenario.start()
            if cancel:
                drive()
                services.turn_back(self.scenario.saga, self.own().business_key, why="the customer cancels")
            settle(ROUNDS)

        child = Child(body, Saboteur(self.standing(way))).start()
        child.wait()
        return child

    def standing(self, way: str) -> dict[str, Answer]:
        if way == "forward":
            return {}
        pivot = next(step.name for step in self.scenario.saga.plan.steps if step.pivot)
        return {f"call:{pivot}:action:before": lambda: Refused("refused", "always")}

    def own(self) -> SagaInstance:
        return SagaInstance.objects.exclude(pk__in=self.before).get(definition=self.scenario.saga.plan.name)


@pytest.mark.parametrize(
    "scenario", [scenario for scenario in SCENARIOS if scenario.name not in SILENT], ids=lambda scenario: scenario.name
)
def test_whatever_bank_and_carrier_do(scenario: Scenario, world_of: Callable[[Scenario], ShopWorld]) -> None:
    outside = Outside(scenario, world_of(scenario))
    possible = list(outside.cases())
    draw = random.Random(SEED)

    cases = drawn(possible, share_of(scenario.share), draw, lambda c: c.fault, lambda c: (c.way, c.operation, c.nth))
    started = time.monotonic()
    found = [f"{case}: {problem}" for case in cases for problem in outside.problems(case)]

    seconds = time.monotonic() - started
    told.append(f"{scenario.name}, outside: {len(cases)} of {len(possible)} cases in {seconds:.1f} s, seed {SEED}")
    assert cases, "nothing outside was asked"
    assert found == []
