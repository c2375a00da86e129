"""Two people for what is worth much, and the queue of unknown outcomes that they work from."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sagas import hooks, operations
from sagas.definition import registry
from sagas.exceptions import ActionIdReused, OperationRefused, StaleVersion
from sagas.models import SagaInstance
from sagas.operator_models import DeniedOperation, Proposal
from tests.racing import race
from tests.sagas.operators import (
    Journey,
    answers,
    bank,
    bank_is_itself_again,
    by_root,
    client_of,
    drain,
    much_at_stake,
    propose,
    staff,
    text_of,
    trip,
    url,
)

__all__ = ["bank_is_itself_again"]


@pytest.fixture
def grace(db: None) -> User:
    return staff("grace", "view_sagainstance", "resolve_saga")


def ask(user: User, saga: SagaInstance) -> operations.Request:
    saga.refresh_from_db()
    return operations.Request(uuid4(), user, "I looked", saga.version)


def action_of(saga: SagaInstance) -> str:
    return saga.steps.get(name="pay").action


def test_what_one_person_says_of_much_is_a_proposal_and_settles_nothing(grace: User) -> None:
    saga = trip("lost")

    with much_at_stake():
        done = operations.resolve(saga.pk, ask(grace, saga), step="pay", happened=False)

    assert action_of(saga) == "UNKNOWN"
    assert done.detail == {"happened": False, "receipt": None, "proposed": True}
    assert operations.follow(done, seconds=0).startswith("Proposed; so much is at stake that a second person")
    assert [(each.actor, each.happened) for each in Proposal.objects.all()] == [(grace, False)]


@pytest.mark.parametrize("why", ["a newer plan carries it on", "nobody can read its data"])
def test_that_its_plan_or_its_data_is_of_another_version_lets_nobody_decide_alone(
    grace: User, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    saga = trip("lost")
    if why == "nobody can read its data":
        SagaInstance.objects.update(data={"whoever": "ada"})
    else:
        plan = registry[Journey.name, 1]
        monkeypatch.delitem(registry, (Journey.name, 1))
        monkeypatch.setitem(registry, (Journey.name, 2), replace(plan, version=2))

    with much_at_stake():
        done = operations.resolve(saga.pk, ask(grace, saga), step="pay", happened=False)
        stake = hooks.stake_of(Journey.name, 1, saga.data)

    assert done.detail["proposed"] is True
    assert (stake is None) == (why == "nobody can read its data")
    assert action_of(saga) == "UNKNOWN"


def test_an_id_that_came_before_with_another_step_is_refused(grace: User) -> None:
    saga = trip("lost")
    request = ask(grace, saga)
    operations.resolve(saga.pk, request, step="pay", happened=False)

    with pytest.raises(ActionIdReused):
        operations.resolve(saga.pk, request, step="reserve_seat", happened=False)


def test_a_second_person_confirms_it(grace: User) -> None:
    saga = trip("lost")
    propose(saga, by="root", happened=True, receipt={"intent_id": "pi_7", "amount": 5})

    done = operations.confirm(saga.pk, ask(grace, saga), step="pay")
    drain()

    saga.refresh_from_db()
    assert (saga.status, saga.steps.get(name="pay").receipt) == ("COMPLETED", {"intent_id": "pi_7", "amount": 5})
    assert done.detail["proposed_by"] == "root"
    assert not Proposal.objects.exists()


def test_nobody_confirms_what_they_proposed_and_that_they_tried_is_written_down(grace: User) -> None:
    saga = trip("lost")
    with much_at_stake():
        operations.resolve(saga.pk, ask(grace, saga), step="pay", happened=False)

    with pytest.raises(OperationRefused, match="You proposed what became of pay; somebody else has to confirm it"):
        operations.confirm(saga.pk, ask(grace, saga), step="pay")

    assert (action_of(saga), Proposal.objects.count()) == ("UNKNOWN", 1)
    assert (DeniedOperation.objects.get().actor, DeniedOperation.objects.get().name) == (grace, "confirm")


def test_that_the_bank_was_down_since_leaves_a_proposal_as_it_is(grace: User) -> None:
    saga = trip("lost")
    propose(saga)
    bank.answer = "down"
    by_root(operations.retry, saga)
    drain()
    assert list(saga.attempts.filter(step="pay").values_list("outcome", flat=True)) == ["UNKNOWN", "TRANSIENT"]

    operations.confirm(saga.pk, ask(grace, saga), step="pay")

    assert action_of(saga) == "PENDING"  # as proposed: it did not happen


def test_what_was_asked_again_since_is_not_confirmed(grace: User) -> None:
    saga = trip("lost")
    propose(saga)
    by_root(operations.retry, saga)
    drain()

    with pytest.raises(OperationRefused, match="pay was tried again since it was proposed"):
        operations.confirm(saga.pk, ask(grace, saga), step="pay")

    assert action_of(saga) == "UNKNOWN"


def test_without_a_proposal_there_is_nothing_to_confirm(grace: User) -> None:
    saga = trip("lost")

    with pytest.raises(OperationRefused, match="Nobody has proposed what became of pay"):
        operations.confirm(saga.pk, ask(grace, saga), step="pay")


@pytest.mark.parametrize(("limit", "action"), [(999_999, "UNKNOWN"), (1_000_000, "PENDING")])
def test_the_limit_is_a_setting_and_only_what_is_above_needs_two(
    settings: Any, grace: User, limit: int, action: str
) -> None:
    settings.SAGAS_TWO_PEOPLE_ABOVE = limit
    saga = trip("lost")

    with much_at_stake():
        operations.resolve(saga.pk, ask(grace, saga), step="pay", happened=False)

    assert action_of(saga) == action


@pytest.mark.django_db(transaction=True)
def test_of_two_who_confirm_at_once_one_does() -> None:
    saga = trip("lost")
    propose(saga, by="root")
    people = [staff(name, "resolve_saga") for name in ("grace", "heidi")]
    requests = [ask(person, saga) for person in people]

    results = race([lambda r=request: operations.confirm(saga.pk, r, step="pay") for request in requests])

    assert sorted(type(result).__name__ for result in results) == ["Operation", "StaleVersion"]
    assert saga.operations.filter(name="confirm").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_proposal_that_is_replaced_while_it_is_confirmed_is_not_what_counts() -> None:
    saga = trip("lost")
    propose(saga, by="root")
    grace, heidi = staff("grace", "resolve_saga"), staff("heidi", "resolve_saga")
    confirm, resolve = ask(grace, saga), ask(heidi, saga)

    with much_at_stake():
        results = race(
            [
                lambda: operations.confirm(saga.pk, confirm, step="pay"),
                lambda: operations.resolve(
                    saga.pk, resolve, step="pay", happened=True, receipt={"intent_id": "x", "amount": 1}
                ),
            ]
        )

    assert sum(isinstance(result, StaleVersion) for result in results) == 1
    assert (action_of(saga) == "UNKNOWN") is Proposal.objects.filter(actor=heidi).exists()


# --- in the admin --------------------------------------------------------------------------------------


def test_the_page_that_resolves_shows_the_evidence_and_that_it_takes_two(grace: User) -> None:
    saga = trip("lost")
    with much_at_stake():
        text = text_of(client_of(grace).get(url("resolve", saga)))

    assert "At stake: <strong>10000.00 EUR</strong>" in text
    assert "another one has to confirm it" in text
    assert f"<code>{saga.pk}:pay:action</code>" in text
    assert "Nothing came from outside about it." in text


def test_the_other_side_is_asked_from_the_page_and_nothing_is_done(grace: User) -> None:
    saga = trip("lost")
    version = saga.version

    response = client_of(grace).post(url("resolve", saga), {**answers(saga), "reason": "half typed", "ask": "pay"})

    assert response.status_code == 200
    assert "The other side cannot tell: the bank keeps no list" in text_of(response)
    assert "half typed" in text_of(response)
    saga.refresh_from_db()
    assert (saga.version, saga.operations.count()) == (version, 0)


def test_a_second_person_confirms_on_the_page(grace: User) -> None:
    saga = trip("lost")
    propose(saga, by="root")
    client = client_of(grace)

    shown = text_of(client.get(url("confirm", saga)))
    posted = client.post(url("confirm", saga), answers(saga))

    assert "root says that it" in shown
    assert posted.status_code == 302
    assert action_of(saga) != "UNKNOWN"


def test_the_queue_lists_what_nobody_knows_with_what_there_is_to_decide_by(grace: User) -> None:
    lost, proposed = trip("lost", "ada"), trip("lost", "bob")
    trip("down", "carol")
    trip("yes", "dan")
    propose(proposed, by="root")
    hooks.register_stake(Journey.name, lambda datas: [hooks.Stake(5, f"5 of {data.traveller}") for data in datas])
    try:
        text = text_of(client_of(grace).get(reverse("admin:sagas_unknownoutcome_changelist")))
    finally:
        del hooks._stakes[Journey.name]

    for saga, way in ((lost, "resolve"), (proposed, "confirm")):
        assert f'{url(way, saga)}?step=pay"' in text
        assert f"{saga.pk}:pay:action" in text
        assert f"5 of {saga.business_key}" in text
    assert "pay: did not happen, says root" in text
    assert "carol" not in text
    assert "dan" not in text
    assert text.count(">once<") == 2


def test_the_queue_says_since_when_nobody_knows_and_not_when_it_was_asked_last(grace: User) -> None:
    saga = trip("lost", "ada")
    saga.events.filter(step="pay", after="UNKNOWN").update(at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

    text = text_of(client_of(grace).get(reverse("admin:sagas_unknownoutcome_changelist")))

    assert "2026-01-02 03:04:05" in text


def test_the_queue_asks_no_more_for_many_than_for_few(grace: User) -> None:
    client, address = client_of(grace), reverse("admin:sagas_unknownoutcome_changelist")
    counts = []
    for names in (["t1"], ["t2", "t3", "t4"]):
        for name in names:
            trip("lost", name)
        with CaptureQueriesContext(connection) as asked:
            client.get(address)
        counts.append(len(asked))

    assert counts[0] == counts[1]


def test_only_who_sees_sagas_sees_the_queue(db: None) -> None:
    address = reverse("admin:sagas_unknownoutcome_changelist")

    assert client_of(staff("nora")).get(address).status_code == 403
