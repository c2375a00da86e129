from sagas.models import SemanticLock, StepAttempt
from sagas.outcomes import Refused, Transient, Unknown
from tests.sagas.conftest import run_trip
from tests.sagas.plans import World, effects


def statuses(saga):
    return {step.name: (step.action, step.compensation) for step in saga.steps.all()}


def test_a_saga_runs_to_its_end_and_frees_its_lock(world: World):
    saga = run_trip()

    assert saga.status == "COMPLETED"
    assert effects("T1") == ["hotel", "paid", "seat", "ticket flight-0"]
    assert set(statuses(saga).values()) == {("SUCCEEDED", "NOT_NEEDED")}
    assert saga.wake_at is None
    assert saga.ended_at is not None
    assert not SemanticLock.objects.exists()


def test_a_refused_step_undoes_what_was_done_in_reverse(world: World):
    world.raises("pay", Refused("no_money", "not enough money"))

    saga = run_trip()

    assert saga.status == "COMPENSATED"
    assert effects("T1") == ["forgotten"]
    assert saga.failure == {"step": "pay", "code": "no_money", "message": "not enough money"}
    assert world.cancelled == set(world.booked)
    order = list(StepAttempt.objects.filter(side="compensation").order_by("id").values_list("step", flat=True))
    assert order[-2:] == ["reserve_seat", "ask_for_trip"]
    assert set(order[:2]) == {"reserve_hotel", "book_flight"}


def test_a_lost_answer_is_asked_for_and_the_call_is_not_made_twice(world: World):
    world.raises("book_flight answer", Unknown("the line was cut"))

    saga = run_trip()

    assert saga.status == "COMPLETED"
    assert world.calls["book_flight"] == 1
    assert world.calls["find_flight"] == 1
    outcomes = StepAttempt.objects.filter(step="book_flight").order_by("number").values_list("outcome", flat=True)
    assert list(outcomes) == ["UNKNOWN", "DONE"]


def test_a_transient_failure_is_tried_again_with_the_same_key(world: World):
    world.raises("book_flight", Transient("connection refused"))

    saga = run_trip()

    assert saga.status == "COMPLETED"
    keys = set(StepAttempt.objects.filter(step="book_flight").values_list("idempotency_key", flat=True))
    assert keys == {f"{saga.id}:book_flight:action"}
    assert len(world.booked) == 1
