"""Receipts: what a step returned, for the steps after it and for its compensation."""

import pytest

from sagas.definition import Pivot, Step
from sagas.outcomes import Refused
from tests.sagas.conftest import run_saga
from tests.sagas.plans import Ticket, World, soon
from tests.sagas.rows import outcomes, step_of


def test_a_later_step_reads_the_receipt_of_an_earlier_one(world: World, define):
    read = []

    def issue(ctx) -> Ticket:
        return Ticket("A7")

    def use(ctx) -> None:
        read.append(ctx.receipt_of(issue))

    saga = run_saga(define(Step(issue, reads_only=True), Pivot(use)))

    assert (saga.status, read) == ("COMPLETED", [Ticket("A7")])


def test_a_receipt_asked_for_too_early_is_a_bug_that_says_so(world: World, define):
    def issue(ctx) -> Ticket:
        return Ticket("A7")

    def use(ctx) -> None:
        ctx.receipt_of(issue)

    saga = run_saga(define(Step(use, reads_only=True, retry=soon), Step(issue, reads_only=True)))

    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")
    assert step_of(saga, "use").error == ("LookupError: issue has no receipt yet; use has to come after it in the plan")


@pytest.mark.parametrize("value", [None, 0, "", False, [], {}, "text", 3.5, [1, {"a": None}]])
def test_a_receipt_comes_back_as_it_was(world: World, define, value):
    got = []

    def issue(ctx) -> object:
        return value

    def undo_issue(ctx, receipt) -> None:
        got.append(receipt)

    def refuse(ctx) -> None:
        raise Refused("no", "no")

    saga = run_saga(define(Step(issue, compensation=undo_issue), Pivot(refuse)))

    assert (saga.status, got) == ("COMPENSATED", [value])


@pytest.mark.parametrize("value", [(1, (2, 3)), {1: {"a": (2,)}}, {True: 1}])
def test_a_receipt_is_the_same_for_a_saga_that_stays_in_memory_and_one_that_is_loaded(world: World, define, value):
    got = []

    def issue(ctx):
        return value

    def use(ctx) -> None:
        got.append(ctx.receipt_of(issue))

    saga = run_saga(define(Step(issue, reads_only=True), Pivot(use)))

    assert (saga.status, got) == ("COMPLETED", [step_of(saga, "issue").receipt])


def test_a_function_without_a_declared_receipt_still_gets_it_back(world: World, define):
    got = []

    def issue(ctx):
        return {"code": "A7"}

    def undo_issue(ctx, receipt) -> None:
        got.append(receipt)

    def refuse(ctx) -> None:
        raise Refused("no", "no")

    saga = run_saga(define(Step(issue, compensation=undo_issue, retry=soon), Pivot(refuse)))

    assert (saga.status, got) == ("COMPENSATED", [{"code": "A7"}])


def test_a_receipt_that_is_no_json_is_a_bug_of_its_step(world: World, define):
    def issue(ctx) -> object:
        return object()

    saga = run_saga(define(Step(issue, reads_only=True, retry=soon)))

    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")
    assert outcomes(saga, "issue") == ["BUG"] * 3
