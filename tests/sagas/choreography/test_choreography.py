"""Services that react to each other's events, on the shipped driver."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction

from sagas.choreography import outbox
from sagas.choreography.broker import deliver
from sagas.choreography.models import OutboxEvent
from sagas.choreography.outbox import as_event, publish
from sagas.codec import to_json
from sagas.models import SagaInstance, SemanticLock
from sagas.outcomes import Refused, Transient, Unknown
from tests.plans_of_lists import fill
from tests.sagas.choreography.bakery import BreadOrdered, Note, Oven, effects, take_order
from tests.sagas.conftest import run


def types() -> list[str]:
    return list(OutboxEvent.objects.order_by("id").values_list("type", flat=True))


def inbox(handler: str) -> list[str]:
    """The status of each event that came to a handler."""
    found = SagaInstance.objects.filter(definition=f"tests.sagas.choreography.bakery.{handler}")
    return list(found.order_by("id").values_list("status", flat=True))


def raise_(error: Exception) -> None:
    raise error


def test_each_service_reacts_to_the_events_of_the_others() -> None:
    take_order("B-1", 2)
    run()

    assert types() == ["shop.bread_ordered", "bakery.bread_baked", "bill.bill_sent"]
    assert effects("B-1") == ["baked", "billed", "handed over"]
    assert OutboxEvent.objects.get(type="bill.bill_sent").data == {"amount": 6}
    assert SagaInstance.objects.get(definition="test.bread_order").status == "COMPLETED"
    assert not SemanticLock.objects.exists()


def test_a_no_is_an_event_like_any_other() -> None:
    take_order("B-1", 11)
    run()

    assert types() == ["shop.bread_ordered", "bakery.bread_refused"]
    assert effects("B-1") == ["forgotten"]
    order = SagaInstance.objects.get(definition="test.bread_order")
    assert (order.status, order.failure["code"]) == ("COMPENSATED", "oven_too_small")


def test_an_event_carries_the_attributes_of_cloudevents_and_its_cause() -> None:
    take_order("B-1", 2)
    run()

    first, second, third = OutboxEvent.objects.order_by("id")
    assert (first.cause_id, second.cause_id, third.cause_id) == (None, first.event_id, second.event_id)
    assert {row.correlation_id for row in (first, second, third)} == {first.event_id}
    told = to_json(as_event(second))
    assert UUID(told.pop("id")) == second.event_id
    assert datetime.fromisoformat(told.pop("time")).tzinfo == UTC
    assert told == {
        "source": "/bakery",
        "type": "bakery.bread_baked",
        "subject": "B-1",
        "data": {"loaves": 2},
        "correlationid": str(first.event_id),
        "causationid": str(first.event_id),
        "specversion": "1.0",
        "datacontenttype": "application/json",
    }


def test_what_is_rolled_back_was_never_published() -> None:
    with transaction.atomic():
        publish(BreadOrdered(2), subject="B-1")
        transaction.set_rollback(True)
    run()
    assert (types(), effects("B-1")) == ([], [])


@pytest.mark.parametrize("subject", ["", "x" * 151])
def test_an_event_without_a_fitting_subject_is_refused_and_leaves_nothing(subject: str) -> None:
    with pytest.raises(ValueError, match=r"shop\.bread_ordered needs a subject"), transaction.atomic():
        publish(BreadOrdered(2), subject=subject)

    assert types() == []


def test_publishing_outside_a_transaction_is_refused() -> None:
    with pytest.raises(transaction.TransactionManagementError, match="Publish inside"):
        publish(BreadOrdered(2), subject="B-1")


def test_an_event_delivered_again_and_again_is_handled_once(oven: Oven) -> None:
    take_order("B-1", 2)
    run()
    told = [as_event(row) for row in OutboxEvent.objects.all()]

    for _ in range(3):
        for event in told:
            with transaction.atomic():
                deliver(event)
        run()

    assert effects("B-1") == ["baked", "billed", "handed over"]
    assert oven.calls == ["bake", "send_bill"]


def test_events_of_one_subject_come_in_order_and_others_do_not_wait(oven: Oven) -> None:
    oven.accidents["read_note"] = [lambda: raise_(Transient("not now", retry_after=timedelta(milliseconds=200)))]
    with transaction.atomic():
        for number in (1, 2, 3):
            publish(Note(number), subject="late")
        publish(Note(1), subject="other")
    run()

    assert effects("late") == ["note 1", "note 2", "note 3"]
    assert effects("other") == ["note 1"]
    assert len(oven.calls) == 5


def test_a_poison_event_becomes_a_dead_letter_and_stops_its_own_subject_only(oven: Oven) -> None:
    oven.accidents["read_note"] = [lambda: raise_(RuntimeError("poison"))] * 3
    with transaction.atomic():
        publish(Note(1), subject="bad")
    run()
    with transaction.atomic():
        publish(Note(2), subject="bad")
        publish(Note(1), subject="good")
    run()

    assert len(oven.calls) == 4
    assert inbox("read_note") == ["SUSPENDED", "WAITING", "COMPLETED"]
    assert (effects("bad"), effects("good")) == ([], ["note 1"])


def test_a_handler_that_says_no_without_a_way_to_say_it_is_a_dead_letter_too(oven: Oven) -> None:
    oven.accidents["read_note"] = [lambda: raise_(Refused("no", "not mine"))] * 3
    with transaction.atomic():
        publish(Note(1), subject="N-1")
    run()

    assert inbox("read_note") == ["SUSPENDED"]
    assert SagaInstance.objects.get(business_key=OutboxEvent.objects.get().event_id).suspend_reason == (
        "RETRIES_EXHAUSTED"
    )


def test_a_payload_that_does_not_fit_names_its_member(oven: Oven) -> None:
    with transaction.atomic():
        publish(Note("many"), subject="N-1")  # type: ignore[arg-type]
    run()

    (letter,) = SagaInstance.objects.all()
    assert (letter.status, oven.calls) == ("SUSPENDED", [])
    assert "Expected `int`, got `str` - at `$.number`" in letter.steps.get(name="read_note").error


def test_an_answer_that_was_lost_is_asked_for_with_the_same_key(oven: Oven) -> None:
    oven.accidents["send_bill"] = [lambda: raise_(Unknown("no answer"))]
    take_order("B-1", 2)
    run()

    assert oven.calls == ["bake", "send_bill", "find_bill", "send_bill"]
    assert effects("B-1") == ["baked", "billed", "handed over"]


def test_the_claim_and_what_a_handler_reads_have_an_index() -> None:
    fill(
        "sagas_outboxevent",
        "event_id, type, source, subject, time, data, correlation_id, attempts, error",
        "gen_random_uuid(), 't', '/t', 's' || n, now(), '{}', gen_random_uuid(), 0, ''",
    )
    with connection.cursor() as cursor:
        for sql, parameters in (
            (outbox._CLAIM, [25]),
            (outbox._IS_DUE, []),
            ("SELECT id FROM sagas_outboxevent WHERE correlation_id = %s AND type = 't'", [UUID(int=1)]),
            ("SELECT id FROM sagas_outboxevent WHERE subject = 's7' ORDER BY id DESC LIMIT 200", []),
            ("SELECT id FROM sagas_outboxevent WHERE time < %s", [datetime.now(UTC) - timedelta(days=1)]),
        ):
            cursor.execute(f"EXPLAIN {sql}", parameters)
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan" not in plan, plan
