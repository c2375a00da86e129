"""The power check: each rule of the design is taken out in turn, and something has to notice.

Most are noticed by `verify` on a small plan. What needs two workers at the same instant is noticed by a race.
What nothing misses is listed with its reason: see STAYS_GREEN.
"""

import sys
from collections.abc import Callable, Iterator
from types import FunctionType

import pytest
from django.db import OperationalError

from sagas.definition import Begin, Parallel, Pivot, RemoteStep, Saga, Step, minutes, seconds
from sagas.engine import Moved, work, work_together
from sagas.outcomes import Refused
from sagas.services import turn_back
from sagas.testing import verify
from tests.sagas import plans, test_engine_local, test_engine_races, test_machine_backward
from tests.sagas import rules_removed as rules
from tests.sagas.conftest import begin, begin_trip
from tests.sagas.outside import SharedWorld
from tests.sagas.plans import Retry, Trip, TripData, World, effects
from tests.sagas.together import execute

Define = Callable[..., type[Saga[TripData]]]

# What a rule is made of, and is replaced when it is taken out.
PARTS = (FunctionType, str)

soon = Retry(attempts=5, first=seconds(0.001), cap=seconds(0.002))


def outing(define: Define) -> type[Saga[TripData]]:
    """As small as a plan can be that has every kind of step before its pivot; of the functions as they are now."""
    return define(
        Begin(plans.ask_for_trip, compensation=plans.forget_trip),
        Step(plans.reserve_seat, compensation=plans.release_seat, retry=soon),
        Parallel(
            Step(plans.reserve_hotel, compensation=plans.release_hotel, retry=soon),
            RemoteStep(
                plans.book_flight,
                compensation=plans.cancel_flight,
                check=plans.find_flight,
                retry=soon,
                timeout=seconds(2),
            ),
        ),
        Pivot(plans.pay, retry=soon),
        name="test.outing",
        deadline=minutes(10),
    )


# The rule that is gone, the trouble in which that is noticed, and the way.
NOTICED_BY_VERIFY = {
    "NO_TOKEN_CHECK": ("done late", "forward"),
    "NEW_KEY_EACH_TIME": ("kill", "forward"),
    "NO_END_OF_A_LEASE": ("kill", "forward"),
    "NO_LEASE": ("double", "forward"),
    "UNKNOWN_IS_FAILED": ("kill, cancel", "forward"),
    "CALL_BEFORE_INTENT": ("kill, cancel", "forward"),
    "EFFECT_AND_PROGRESS_IN_TWO_COMMITS": ("kill", "forward"),
    "A_COMPENSATION_THAT_FORGETS_A_WRITE": ("kill", "back"),
    "A_COMPENSATION_THAT_FORGETS_A_CALL": ("kill", "back"),
}


def one_in_hand_that_was_turned_back(world: World, _: pytest.MonkeyPatch) -> None:
    begin_trip()
    in_hand = [moved.saga for moved in work_together(1) if isinstance(moved, Moved) and moved.saga]
    assert turn_back(Trip, "T1", why="cancelled")

    assert work_together(1, in_hand) == []


def one_of_two_in_hand_that_was_turned_back(world: World, _: pytest.MonkeyPatch) -> None:
    begin_trip("T1")
    other = begin_trip("T2")
    in_hand = [moved.saga for moved in work_together(2) if isinstance(moved, Moved) and moved.saga]
    assert turn_back(Trip, "T1", why="cancelled")

    assert [moved.saga_id for moved in work_together(2, in_hand)] == [other.pk]


def a_step_that_writes_and_raises(world: World, _: pytest.MonkeyPatch) -> None:
    def write_and_raise() -> None:
        execute("INSERT INTO test_effect (key, what) VALUES ('T1', 'half')")
        raise Refused("no", "no")

    world.does("reserve_seat", write_and_raise)
    saga = begin_trip()

    assert work(saga.pk) is not None
    assert "half" not in effects("T1")


# What is decided purely, or takes two workers: the test that notices.
NOTICED_BY_A_TEST: dict[str, Callable[[World, pytest.MonkeyPatch], None]] = {
    "UNDO_BEFORE_SETTLED": lambda *_: (
        test_machine_backward.test_nothing_is_undone_while_a_member_of_the_group_may_run()
    ),
    "NO_ROW_LOCK": lambda world, _: test_engine_races.test_who_looks_for_work_passes_a_saga_that_somebody_is_at(world),
    "NO_REREAD_AFTER_A_ROLLBACK": (test_engine_local.test_somebody_who_moves_the_saga_between_rollback_and_record_wins),
    "KEEP_WHAT_WAS_WRITTEN": a_step_that_writes_and_raises,
    "NO_LOOK_AT_THE_VERSION_IN_HAND": one_of_two_in_hand_that_was_turned_back,
    "ONE_IN_HAND_IS_NOT_TAKEN_UP": one_in_hand_that_was_turned_back,
}

STAYS_GREEN = {
    "NO_VERSION_GUARD": "the saga's row is locked, as it was loaded, before anything is written; a second net",
}


@pytest.fixture(autouse=True)
def whole_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test took out is back after it: the rest of the run would test another engine."""

    def parts() -> dict[tuple[str, str], object]:
        modules = {name: vars(module) for name, module in sys.modules.items() if name.startswith("sagas.")}
        return {(at, name): part for at in modules for name, part in modules[at].items() if type(part) in PARTS}

    before = parts()
    yield
    monkeypatch.undo()
    after = parts()
    assert [where for where, part in before.items() if after.get(where) is not part] == []


@pytest.mark.parametrize("rule", NOTICED_BY_VERIFY)
def test_verify_notices_that_a_rule_is_gone(
    shared: SharedWorld, define: Define, monkeypatch: pytest.MonkeyPatch, rule: str
):
    disturbance, way = NOTICED_BY_VERIFY[rule]
    getattr(rules, rule)(monkeypatch)
    plan = outing(define)

    with pytest.raises(AssertionError, match=r"violations, seed|went wrong"):
        verify(
            plan,
            start=lambda: begin(plan),
            world=shared,
            disturbances=[disturbance],
            ways=[way],
            keep_going=False,
        )


@pytest.mark.parametrize("rule", NOTICED_BY_A_TEST)
def test_another_test_notices_that_a_rule_is_gone(world: World, monkeypatch: pytest.MonkeyPatch, rule: str):
    with monkeypatch.context() as patch:
        getattr(rules, rule)(patch)
        with pytest.raises((AssertionError, pytest.fail.Exception, OperationalError)):
            NOTICED_BY_A_TEST[rule](world, patch)


@pytest.mark.parametrize("rule", NOTICED_BY_A_TEST)
def test_with_the_rule_in_place_the_other_test_is_green(world: World, monkeypatch: pytest.MonkeyPatch, rule: str):
    with monkeypatch.context() as patch:
        NOTICED_BY_A_TEST[rule](world, patch)


def test_every_rule_that_can_be_taken_out_is_noticed_or_has_a_reason():
    listed = [*NOTICED_BY_VERIFY, *NOTICED_BY_A_TEST, *STAYS_GREEN]

    assert sorted(listed) == sorted(name for name in vars(rules) if name.isupper())


def test_with_all_rules_in_place_nothing_is_found(shared: SharedWorld, define: Define):
    plan = outing(define)
    everything = {disturbance for disturbance, _ in NOTICED_BY_VERIFY.values()}

    proof = verify(plan, start=lambda: begin(plan), world=shared, disturbances=everything, share=0.3)

    assert proof.violations == []
