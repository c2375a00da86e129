"""How a saga is declared, and what the class that declares it is refused for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import new_class
from typing import TypeVar

import pytest

from sagas.definition import DefinitionError, Lock, Pivot, Saga, Step, minutes, newest, registry, seconds

D = TypeVar("D")


@dataclass(frozen=True)
class Thing:
    number: str


def first(ctx): ...


def undo_first(ctx, receipt): ...


def second(ctx): ...


FIRST = Step(first, compensation=undo_first)
SECOND = Step(second, reads_only=True)


@pytest.fixture(autouse=True)
def own_registry() -> Iterator[None]:
    """What a test defines is forgotten after it."""
    before = dict(registry)
    yield
    registry.clear()
    registry.update(before)


def define(*, base=Saga[Thing], **words):
    """``class Things(base)`` with these words; None leaves one out."""
    words = {"name": "test.thing", "version": 1, "steps": (FIRST,)} | words
    said = {word: value for word, value in words.items() if value is not None}
    return new_class("Things", (base,), exec_body=lambda body: body.update(said))


def refusal(**words):
    before = dict(registry)

    with pytest.raises(DefinitionError) as caught:
        define(**words)

    assert registry == before
    return str(caught.value)


def test_a_saga_becomes_a_plan_known_by_name_and_version():
    lock = Lock("thing", lambda data: data.number)

    things = define(deadline=minutes(30), locks=[lock])

    plan = things.plan
    assert registry["test.thing", 1] is plan
    assert (plan.name, plan.version, plan.data_type) == ("test.thing", 1, Thing)
    assert (plan.deadline, plan.locks) == (timedelta(minutes=30), (lock,))
    assert plan.step("first") is plan.steps[0]
    assert list(plan.place(0)) == [plan.steps[0]]


def test_deadline_and_locks_may_be_left_out():
    plan = define().plan

    assert (plan.deadline, plan.locks) == (None, ())


@pytest.mark.parametrize("word", ["name", "version", "steps"])
def test_a_saga_says_its_name_version_and_steps(word):
    assert refusal(**{word: None}) == f"Things needs {word}."


@pytest.mark.parametrize("base", [Saga, Saga[int], Saga[D]], ids=["nothing", "no dataclass", "a variable"])
def test_a_saga_says_what_its_data_is(base):
    assert refusal(base=base) == "Things has to say its data: `class Things(Saga[YourDataclass])`."


def test_a_broken_plan_is_not_registered():
    assert refusal(steps=(FIRST, FIRST)).startswith("test.thing: first is there twice")


@pytest.mark.parametrize(
    "steps",
    [(FIRST, SECOND), (Pivot(first),), (Step(second, reads_only=True),)],
    ids=["another step", "another kind", "another name"],
)
def test_a_version_is_defined_once(steps):
    define()

    assert refusal(steps=steps) == "test.thing version 1 is defined twice; raise `version`."


def test_the_same_plan_may_be_read_again():
    one = define()
    two = define()

    assert registry["test.thing", 1] is two.plan
    assert [s.name for s in one.plan.steps] == [s.name for s in two.plan.steps]


def test_a_new_version_stands_beside_the_old_one():
    one = define()
    two = define(version=2, steps=(FIRST, SECOND))

    assert registry["test.thing", 1] is one.plan
    assert newest("test.thing") is two.plan


def test_there_is_no_newest_version_of_what_is_not_defined():
    assert newest("test.nothing") is None


@pytest.mark.parametrize("version", [0, -1, "1"])
def test_a_version_is_a_positive_number(version):
    assert refusal(version=version) == f"Things has version {version!r}; number versions from 1."


def test_durations_are_timedeltas():
    assert (seconds(0.5), minutes(2)) == (timedelta(milliseconds=500), timedelta(seconds=120))
