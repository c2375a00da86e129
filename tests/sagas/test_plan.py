"""Every rule of a plan, each broken once: the error is a sentence with the fix in it."""

import re

import pytest

from sagas.definition import Begin, NoCompensation, Parallel, Pivot, RemoteStep, Retry, Step, remote
from sagas.plan import DefinitionError, Kind, plan_steps
from sagas.states import Side


def begin(): ...


def first(ctx): ...


def undo_first(ctx, receipt): ...


def second(ctx): ...


def undo_second(ctx, receipt): ...


def third(ctx): ...


@remote()
def call(ctx, request): ...


@remote()
def undo_call(ctx, receipt): ...


def check_call(ctx, request): ...


def takes_nothing(): ...


def takes_three(ctx, receipt, more): ...


FIRST = Step(first, compensation=undo_first)
SECOND = Step(second, compensation=undo_second)
CALL = RemoteStep(call, compensation=undo_call, check=check_call)


def refusal(*items):
    with pytest.raises(DefinitionError) as caught:
        plan_steps("test.plan", items)
    return str(caught.value)


def test_steps_are_numbered_and_those_of_a_group_share_a_place():
    steps = plan_steps(
        "test.plan", [Begin(begin, compensation=undo_first), Parallel(FIRST, CALL), Pivot(second), Step(third)]
    )

    assert [(s.position, s.place, s.name, s.kind) for s in steps] == [
        (0, 0, "begin", Kind.COMPENSATABLE),
        (1, 1, "first", Kind.COMPENSATABLE),
        (2, 1, "call", Kind.COMPENSATABLE),
        (3, 2, "second", Kind.PIVOT),
        (4, 3, "third", Kind.RETRIABLE),
    ]
    assert [s.begins for s in steps] == [True, False, False, False, False]
    assert [s.pivot for s in steps] == [False, False, False, True, False]


def test_each_side_of_a_step_is_remote_by_its_own_function():
    (step,) = plan_steps("test.plan", [Step(first, compensation=undo_call)])

    assert not step.is_remote(Side.ACTION)
    assert step.is_remote(Side.COMPENSATION)


def test_without_a_pivot_every_step_can_be_undone():
    assert {step.kind for step in plan_steps("test.plan", [FIRST, SECOND])} == {Kind.COMPENSATABLE}


@pytest.mark.parametrize(
    ("step", "has_effect"),
    [
        (FIRST, True),
        (Step(first, no_compensation=NoCompensation.SUSPEND), True),
        (Step(first, no_compensation=NoCompensation.ACCEPT), False),
        (Step(first, reads_only=True), False),
    ],
)
def test_going_backward_has_to_do_something_about_steps_with_an_effect(step, has_effect):
    (planned,) = plan_steps("test.plan", [step])

    assert planned.has_effect is has_effect


def test_a_plan_needs_a_step():
    assert refusal() == "test.plan has no steps; add at least one."


def test_a_lambda_cannot_name_a_step():
    assert (
        refusal(Step(lambda ctx: None, compensation=undo_first))
        == "test.plan: '<lambda>' cannot name a step; use a named function, not a lambda."
    )


def test_a_name_is_there_once():
    assert (
        refusal(FIRST, SECOND, FIRST)
        == "test.plan: first is there twice; steps are known by name, so give it another one."
    )


def test_there_is_at_most_one_pivot():
    assert (
        refusal(FIRST, Pivot(second), Pivot(third))
        == "test.plan: second and third are both pivots; a path has at most one."
    )


def test_a_pivot_is_not_parallel():
    assert (
        refusal(Parallel(FIRST, Pivot(second))) == "test.plan: a pivot cannot be parallel; give it a place of its own."
    )


COMPENSATION_NEEDED = (
    "test.plan: first stands before the pivot, so it needs exactly one of a compensation, "
    "no_compensation=SUSPEND or ACCEPT, or reads_only=True."
)


@pytest.mark.parametrize(
    "step",
    [
        Step(first),
        Step(first, compensation=undo_first, reads_only=True),
        Step(first, compensation=undo_first, no_compensation=NoCompensation.ACCEPT),
        Step(first, reads_only=True, no_compensation=NoCompensation.SUSPEND),
    ],
    ids=["nothing", "compensation and reads_only", "compensation and none", "reads_only and none"],
)
def test_a_step_before_the_pivot_says_how_it_is_undone_exactly_once(step):
    assert refusal(step, Pivot(second)) == COMPENSATION_NEEDED


def test_a_member_of_a_group_says_how_it_is_undone_as_well():
    assert refusal(Parallel(SECOND, Step(first)), Pivot(third)) == COMPENSATION_NEEDED


def test_a_step_after_the_pivot_has_no_compensation():
    assert refusal(Pivot(second), FIRST) == (
        "test.plan: first is never undone (RETRIABLE), so take its compensation away or move it before the pivot."
    )


def test_the_pivot_has_no_compensation():
    assert refusal(Pivot(second, compensation=undo_second)) == (
        "test.plan: second is never undone (PIVOT), so take its compensation away or move it before the pivot."
    )


def test_a_remote_step_needs_a_remote_function():
    assert (
        refusal(RemoteStep(first, compensation=undo_first))
        == "test.plan: first is in a RemoteStep, so decorate it with @remote()."
    )


@pytest.mark.parametrize("kind", [Step, Begin])
def test_a_remote_function_needs_a_remote_step(kind):
    assert (
        refusal(kind(call, compensation=undo_first))
        == "test.plan: call is @remote, so put it into a RemoteStep or a Pivot."
    )


def test_a_local_step_has_no_check():
    assert (
        refusal(Step(first, compensation=undo_first, check=check_call))
        == "test.plan: first is local and never unknown, so take its check away."
    )


def test_begin_is_the_first_step():
    assert (
        refusal(FIRST, Begin(begin, compensation=undo_second))
        == "test.plan: begin is in a Begin, so it has to be the first step."
    )


def test_begin_is_not_parallel():
    assert (
        refusal(Parallel(Begin(begin, compensation=undo_first), SECOND))
        == "test.plan: begin is in a Begin, so it has to be the first step."
    )


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (Step(takes_nothing, reads_only=True), "takes_nothing has to take (ctx)."),
        (Step(undo_first, reads_only=True), "undo_first has to take (ctx)."),
        (RemoteStep(remote()(first), reads_only=True), "first has to take (ctx, receipt or request)."),
        (Step(first, compensation=second), "second has to take (ctx, receipt or request)."),
        (Step(first, compensation=takes_three), "takes_three has to take (ctx, receipt or request)."),
        (Step(first, compensation=remote()(second)), "second has to take (ctx, receipt or request)."),
        (RemoteStep(call, check=second, reads_only=True), "second has to take (ctx, receipt or request)."),
        (RemoteStep(remote(prepare=undo_first)(call.call), reads_only=True), "undo_first has to take (ctx)."),
        (
            RemoteStep(remote(record=first)(call.call), reads_only=True),
            "first has to take (ctx, receipt or request).",
        ),
        (
            RemoteStep(remote(refused=takes_three)(call.call), reads_only=True),
            "takes_three has to take (ctx, receipt or request).",
        ),
        (
            Step(second, compensation=remote(prepare=first)(undo_call.call)),
            "first has to take (ctx, receipt or request).",
        ),
        (
            Step(second, compensation=remote(record=first)(undo_call.call)),
            "first has to take (ctx, receipt or request).",
        ),
    ],
)
def test_a_function_takes_what_it_is_given(step, sentence):
    assert refusal(step) == f"test.plan: {sentence}"


def test_a_function_may_take_more_than_it_is_given_when_that_has_a_default():
    def generous(ctx, receipt=None, *more): ...

    assert plan_steps("test.plan", [Step(generous, compensation=generous)])


@pytest.mark.parametrize("items", [(Pivot(first, skippable=True),), (Begin(first, reads_only=True, skippable=True),)])
def test_neither_the_start_nor_the_pivot_can_be_skipped(items):
    assert refusal(*items) == "test.plan: first cannot be missed, so take skippable=True away."


def test_a_step_is_tried_at_least_once():
    assert (
        refusal(Step(first, compensation=undo_first, retry=Retry(attempts=0)))
        == "test.plan: first needs at least one attempt, so set retry to Retry(attempts=1)."
    )


@pytest.mark.parametrize("item", [first, Parallel(Parallel(FIRST)), Step], ids=["function", "nested group", "class"])
def test_a_plan_is_made_of_steps(item):
    assert re.fullmatch(r"test\.plan: .* is not a step; wrap it in Step\(\.\.\.\) or one of its kinds\.", refusal(item))


def test_a_name_fits_into_its_column():
    def long(ctx): ...

    long.__name__ = "a" * 101

    assert refusal(Step(long, reads_only=True)) == (
        f"test.plan: {'a' * 101} is longer than the 100 characters that are stored; give it a shorter name."
    )
