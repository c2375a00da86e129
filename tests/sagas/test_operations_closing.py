"""Where a saga cannot get on by itself: what comes of skipping, waiving, abandoning and reviewing."""

from sagas.audit import audit
from sagas.definition import NoCompensation, Pivot, Step, registry
from sagas.engine import record, work
from sagas.options import options
from sagas.outcomes import Refused
from tests.sagas.conftest import begin, begin_call, begin_trip, run
from tests.sagas.operating import ask, do, open_door, refused, saga_for
from tests.sagas.plans import World, effects, release_seat, reserve_hotel, reserve_seat
from tests.sagas.rows import snapshot, step_of


def test_a_skipped_step_is_passed_and_its_call_is_not_made(world: World, operator):
    saga = saga_for(world, "skip")
    calls = world.calls["send_papers"]

    do("skip", saga, ask(operator, saga))
    run()

    saga.refresh_from_db()
    assert (saga.status, step_of(saga, "send_papers").action) == ("COMPLETED", "SKIPPED")
    assert world.calls["send_papers"] == calls
    assert audit().violations == ()


def test_later_steps_get_the_receipt_that_was_given_for_a_skipped_one(world: World, operator, define):
    seen = []

    def quote(ctx) -> int:
        raise Refused("no", "the scales are gone")

    def charge(ctx) -> None:
        seen.append(ctx.receipt_of(quote))

    saga = begin(define(Pivot(open_door), Step(quote, skippable=True), Step(charge)))
    run()
    saga.refresh_from_db()
    sentence = "This is not a receipt of quote: Expected `int`, got `null`."
    assert str(refused("skip", saga, ask(operator, saga), step="quote", receipt=None)) == sentence

    do("skip", saga, ask(operator, saga), step="quote", receipt=7)
    run()

    assert seen == [7]


def test_waiving_lists_what_is_left_and_undoes_the_rest(world: World, operator):
    saga = saga_for(world, "waive")

    done = do("waive", saga, ask(operator, saga))
    run()

    saga.refresh_from_db()
    assert (saga.status, effects("T1")) == ("COMPENSATED", ["forgotten", "hotel"])
    assert done.detail == {"left_behind": ["reserve_hotel"], "receipt": None}
    assert step_of(saga, "reserve_hotel").compensation == "WAIVED"
    assert audit().violations == ()


def test_what_cannot_be_undone_may_be_waived_before_later_steps_are_undone(world: World, operator, define):
    impossible = Step(reserve_hotel, no_compensation=NoCompensation.SUSPEND)
    saga = begin(define(impossible, Step(reserve_seat, compensation=release_seat), Pivot(open_door)))
    work(saga.pk)
    work(saga.pk)
    do("compensate", saga, ask(operator, saga))

    do("waive", saga, ask(operator, saga), step="reserve_hotel")
    run()

    saga.refresh_from_db()
    assert (saga.status, effects("T1")) == ("COMPENSATED", ["hotel"])
    assert audit().violations == ()


def test_an_abandoned_saga_lists_what_it_leaves_and_lets_go_of_its_locks(world: World, operator):
    saga = saga_for(world, "abandon")

    done = do("abandon", saga, ask(operator, saga))
    run()

    saga.refresh_from_db()
    left = ["ask_for_trip", "reserve_seat", "reserve_hotel"]
    assert (saga.status, saga.locks.count(), effects("T1")) == ("ABANDONED", 0, ["hotel", "seat"])
    assert done.detail == {"left_behind": left, "locks": ["trip T1"]}
    assert saga.attention == f"abandoned; left behind: {', '.join(left)}"
    assert audit().violations == ()


def test_the_answer_of_a_call_is_not_recorded_for_an_abandoned_saga(world: World, operator):
    saga = begin_trip()
    call = begin_call(saga)

    do("abandon", saga, ask(operator, saga))

    before = snapshot(saga)
    assert record(call, call.make()) is None
    assert snapshot(saga) == before
    assert saga.attempts.get(step="book_flight").outcome == "LEASE_OVER"
    assert "book_flight (perhaps)" in saga.operations.get().detail["left_behind"]
    assert audit().violations == ()


def test_attention_stays_until_somebody_reviews_it_and_the_end_stays_when_it_was(world: World, operator):
    saga = saga_for(world, "review")
    ended_at = saga.ended_at

    done = do("review", saga, ask(operator, saga))

    saga.refresh_from_db()
    assert (saga.attention, saga.status, saga.ended_at) == ("", "ABANDONED", ended_at)
    assert done.detail["attention"].startswith("abandoned; left behind: ")


def test_an_ended_saga_can_be_reviewed_when_its_code_is_gone(world: World, operator, define):
    saga = saga_for(world, "review")
    del registry["test.trip", 1]

    assert [option.name for option in options(saga.pk, operator) if not option.why_not] == ["review"]
    do("review", saga, ask(operator, saga))

    saga.refresh_from_db()
    assert saga.attention == ""
