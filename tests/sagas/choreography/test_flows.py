"""Flows: where they stand, when they are quiet, how long they are kept."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from sagas import services
from sagas.choreography import flows
from sagas.choreography.broker import LocalBroker
from sagas.choreography.flows import Flow, Stand, Station, declare, stands
from sagas.choreography.models import OutboxEvent
from sagas.choreography.outbox import publish
from sagas.choreography.retention import purge_events
from sagas.choreography.selectors import trace, where_it_stands
from sagas.definition import Await, NoCompensation, Sleep
from sagas.engine import work
from sagas.exceptions import OperationRefused
from sagas.models import SagaInstance
from sagas.operations import Request, abandon, compensate, retry
from tests.sagas.choreography.bakery import FLOW, BreadOrder, Note, Oven, effects, take_order
from tests.sagas.conftest import begin, run
from tests.sagas.operators import staff


@pytest.fixture
def olga(world: Any) -> User:
    return staff("olga", "retry_saga", "abandon_saga", "compensate_saga", "view_sagainstance")


def ask(olga: User, saga: SagaInstance) -> Request:
    return Request(uuid4(), olga, "seen in a test", saga.version)


def poison(oven: Oven) -> SagaInstance:
    """A dead letter: a note that its handler cannot read."""

    def burn() -> None:
        raise RuntimeError("poison")

    oven.accidents["read_note"] = [burn] * 3
    with transaction.atomic():
        publish(Note(1), subject="N-1")
        publish(Note(2), subject="N-1")
    run()
    return SagaInstance.objects.get(status="SUSPENDED")


def test_where_a_flow_stands_does_not_depend_on_the_order_of_its_events() -> None:
    came = ["shop.bread_ordered", "bakery.bread_baked", "something.else"]

    for order in permutations(came):
        assert [stand for _, stand in stands(FLOW, order)] == [Stand.CAME, Stand.CAME, Stand.TO_COME]
    back = ["bakery.bread_refused", "shop.bread_ordered"]
    assert [stand for _, stand in stands(FLOW, back)] == [Stand.CAME, Stand.REFUSED, Stand.NO_MORE]


def test_what_was_undone_is_shown_as_undone() -> None:
    flow = Flow(BreadOrder, FLOW.end, (Station("a.b", undone_by="a.c"), Station("d.e")), timedelta(minutes=1))

    assert [stand for _, stand in stands(flow, ["a.b", "a.c"])] == [Stand.UNDONE, Stand.NO_MORE]


def test_a_flow_is_declared_once() -> None:
    with pytest.raises(ValueError, match=r"test\.bread_order is declared twice"):
        declare(FLOW)


def test_one_trace_shows_the_whole_flow_with_its_causes() -> None:
    take_order("B-1", 2)
    run()

    found = trace("B-1")

    assert [(told.row.type, told.depth) for told in found.events] == [
        ("shop.bread_ordered", 0),
        ("bakery.bread_baked", 1),
        ("bill.bill_sent", 2),
    ]
    handlers = [[saga.definition.rpartition(".")[2] for saga in told.deliveries] for told in found.events]
    assert handlers == [["bake"], ["send_bill"], ["end_order"]]
    assert where_it_stands(found) == "The flow has ended. Done."


def test_a_flow_that_goes_quiet_asks_for_a_person_and_every_event_puts_that_off(oven: Oven) -> None:
    take_order("B-1", 2)
    saga = SagaInstance.objects.get(definition="test.bread_order")
    work(saga.pk)
    saga.refresh_from_db()
    began = saga.wake_at
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_outboxevent SET time = time + interval '1 minute'")
    assert LocalBroker().send()
    saga.refresh_from_db()
    assert timedelta(seconds=50) < saga.wake_at - began < timedelta(seconds=70)

    with connection.cursor() as cursor:
        for table, column in (("sagainstance", "wake_at"), ("sagastep", "due_at")):
            cursor.execute(f"UPDATE sagas_{table} SET {column} = clock_timestamp() WHERE {column} > clock_timestamp()")
    work(saga.pk)
    saga.refresh_from_db()
    assert (saga.status, saga.attention) == ("WAITING", "hand_over is overdue")

    run()
    saga.refresh_from_db()
    assert (saga.status, saga.attention, effects("B-1")) == ("COMPLETED", "", ["baked", "billed", "handed over"])


def hand_out(ctx: Any, ended: Any) -> None:
    """What newer code calls the end of the flow."""


def note_end(ctx: Any) -> None:
    """What the saga does by itself when the others are done."""


def test_a_flow_that_began_before_its_end_was_renamed_still_hears_of_its_events(oven: Oven, monkeypatch: Any) -> None:
    take_order("B-1", 2)

    with monkeypatch.context() as newer:
        newer.setattr(flows, "flows", [replace(FLOW, end=hand_out)])
        run()

    assert not OutboxEvent.objects.filter(due_at__isnull=False).exists()
    assert effects("B-1") == ["baked", "billed", "handed over"]


def test_nobody_turns_a_flow_back_while_others_act_for_it(olga: User) -> None:
    take_order("B-1", 2)
    saga = SagaInstance.objects.get(definition="test.bread_order")

    with pytest.raises(OperationRefused, match="others act for it until hand_over comes"):
        compensate(saga.pk, ask(olga, saga))

    assert not services.turn_back(BreadOrder, "B-1", why="wanted")
    run()
    assert effects("B-1") == ["baked", "billed", "handed over"]


def test_when_the_others_are_done_a_saga_that_goes_on_by_itself_can_be_turned_back(define: Any) -> None:
    others = Await(hand_out, no_compensation=NoCompensation.ACCEPT, carried_by_others=True)
    plan = define(others, Sleep(note_end, within=timedelta(hours=1), reads_only=True))
    saga = begin(plan)
    run()
    assert not services.turn_back(plan, "T1", why="wanted")

    services.signal(plan, "T1", hand_out, None, dedup_id="1")
    run()

    assert services.turn_back(plan, "T1", why="wanted")
    saga.refresh_from_db()
    assert saga.status == "COMPENSATED"


def test_a_dead_letter_can_be_tried_again(olga: User, oven: Oven) -> None:
    letter = poison(oven)
    assert where_it_stands(trace("N-1")).startswith(
        "tests.sagas.choreography.bakery.read_note could not handle shop.note: retry it, or discard it."
    )

    retry(letter.pk, ask(olga, letter))
    run()

    assert effects("N-1") == ["note 1", "note 2"]


def test_a_discarded_dead_letter_lets_the_next_event_through(olga: User, oven: Oven) -> None:
    letter = poison(oven)

    abandon(letter.pk, ask(olga, letter))
    run()

    letter.refresh_from_db()
    assert (letter.status, effects("N-1")) == ("ABANDONED", ["note 2"])


def test_an_operator_can_have_a_handler_say_no(olga: User, oven: Oven) -> None:
    """What turns a flow back that cannot go on: the service at work says so, and the others react."""

    def burn() -> None:
        raise RuntimeError("poison")

    oven.accidents["bake"] = [burn] * 3
    take_order("B-1", 2)
    run()
    letter = SagaInstance.objects.get(status="SUSPENDED")

    compensate(letter.pk, ask(olga, letter))
    run()

    assert effects("B-1") == ["forgotten"]


def test_events_go_with_the_last_saga_of_their_flow() -> None:
    take_order("B-1", 2)
    run()

    assert purge_events(after=timedelta()) == 0
    SagaInstance.objects.exclude(definition="tests.sagas.choreography.bakery.end_order").delete()
    assert purge_events(after=timedelta()) == 0  # one of the three is still read
    SagaInstance.objects.all().delete()
    assert purge_events(after=timedelta(days=1)) == 0
    assert purge_events(after=timedelta(), batch=2) == 3
    assert not OutboxEvent.objects.exists()
