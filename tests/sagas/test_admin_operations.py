"""What people do to a saga through the admin: who may, when it is refused, and what comes of it."""

import threading
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.urls import reverse

from sagas.driver import drain_due
from sagas.models import Operation, SagaInstance
from tests.racing import race
from tests.sagas.operators import (
    MARKUP,
    OPERATIONS,
    answers,
    bank,
    bank_is_itself_again,
    client_of,
    drain,
    everything_about,
    operator,
    saga_for,
    staff,
    text_of,
    trip,
    url,
    viewer,
)

__all__ = ["bank_is_itself_again", "operator", "viewer"]


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


# --- what comes of it --------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_one_row_with_its_reason(operator: User, operation: str) -> None:
    saga = saga_for(operation)
    asked = answers(saga, reason=f"because {MARKUP}")

    response = client_of(operator).post(url(operation, saga), asked, follow=True)

    done = saga.operations.get(name=operation)
    assert (str(done.pk), done.actor, done.reason) == (asked["operation"], operator, f"because {MARKUP}")
    assert response.redirect_chain == [(url("change", saga), 302)]
    assert MARKUP not in text_of(response)
    assert "because &lt;script&gt;" in text_of(response)


def test_a_pause_is_reported_as_what_it_came_to(operator: User) -> None:
    saga = trip("down")

    response = client_of(operator).post(url("pause", saga), answers(saga), follow=True)

    saga.refresh_from_db()
    assert (saga.status, saga.suspend_reason) == ("SUSPENDED", "OPERATOR_PAUSE")
    assert messages_of(response)[0].startswith("Pause: An operator paused it.")


def test_without_a_worker_nobody_is_told_that_the_retry_worked(operator: User) -> None:
    saga = trip("down")

    response = client_of(operator).post(url("retry", saga), answers(saga), follow=True)

    assert messages_of(response) == [
        "Retry: No worker has taken it up yet; are the workers running? Going forward: at pay."
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("yes", "Retry: send_ticket came out DONE. Done."),
        ("no", "Retry: The compensation of reserve_seat came out DONE. Every effect is undone."),
        ("down", f"Retry: pay came out TRANSIENT: the bank is down {MARKUP}. Pauses before it tries pay again"),
    ],
)
def test_a_retry_tells_the_real_outcome(monkeypatch: pytest.MonkeyPatch, answer: str, told: str) -> None:
    monkeypatch.setattr("sagas.admin.operating.FOLLOW_SECONDS", 30)
    saga = trip("down")
    grace = staff("grace", "view_sagainstance", "retry_saga")
    bank.answer = answer
    over = threading.Event()

    def work() -> None:
        try:
            while not over.is_set():
                drain_due(seconds=1)
                over.wait(0.02)
        finally:
            connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        response = client_of(grace).post(url("retry", saga), answers(saga), follow=True)
    finally:
        over.set()
        worker.join(timeout=30)

    assert messages_of(response)[0].startswith(told)


def test_turning_back_gives_everything_back(operator: User) -> None:
    saga = trip("lost")

    client_of(operator).post(url("compensate", saga), answers(saga))
    drain()

    saga.refresh_from_db()
    assert saga.status == "COMPENSATED"
    assert bank.paid_back == [f"{saga.pk}:pay:compensation"]


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_stale_page_is_refused_with_what_changed_and_a_fresh_one(operator: User, operation: str) -> None:
    saga = saga_for(operation)
    stale = answers(saga, seen=saga.events.latest("id").pk, reason="typed with care")
    SagaInstance.objects.filter(pk=saga.pk).update(version=saga.version + 1)
    saga.events.create(
        what="saga", before="RUNNING", after="WAITING", actor="engine", why="news", generation=1, at=saga.updated_at
    )
    before = everything_about(saga)

    response = client_of(operator).post(url(operation, saga), stale)

    assert response.status_code == 409
    assert everything_about(saga) == before
    assert "moved on while you were reading" in text_of(response)
    assert [event.row.why for event in response.context["moved"]] == ["news"]
    assert "typed with care" in text_of(response)
    assert f'name="version" value="{saga.version}"' in text_of(response)
    assert stale["operation"] in text_of(response)


def test_what_was_refused_as_stale_can_be_sent_again(operator: User) -> None:
    saga = trip("down")
    client, asked = client_of(operator), answers(saga)
    SagaInstance.objects.filter(pk=saga.pk).update(version=saga.version + 1)
    refused = client.post(url("retry", saga), asked)

    form = refused.context["form"]
    again = client.post(url("retry", saga), {name: form[name].value() for name in form.fields})

    assert (refused.status_code, again.status_code) == (409, 302)
    assert saga.operations.count() == 1


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_that_is_not_open_is_refused_with_the_reason(operator: User, operation: str) -> None:
    saga = trip("yes")
    before = everything_about(saga)
    client = client_of(operator)

    shown = client.get(url(operation, saga))
    posted = client.post(url(operation, saga), answers(saga))

    assert "Not now." in text_of(shown)
    assert "<textarea" not in text_of(shown)
    assert posted.status_code == 409
    assert everything_about(saga) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": ""},
        {"reason": "   "},
        {"reason": "x" * 1001},
        {"reason": "nul\x00"},
        {"version": ""},
        {"version": "x"},
        {"version": "9" * 40},
        {"operation": "not a uuid"},
        {"operation": ""},
    ],
)
def test_bad_input_is_refused(operator: User, changes: dict[str, Any]) -> None:
    saga = trip("down")
    asked, before = answers(saga, **changes), everything_about(saga)

    assert client_of(operator).post(url("retry", saga), asked).status_code in (400, 409)
    assert everything_about(saga) == before


@pytest.mark.parametrize("operation", ["reschedule", "resolve", "confirm", "skip", "waive"])
def test_a_step_with_a_nul_is_refused(operator: User, operation: str) -> None:
    saga = saga_for(operation)
    asked, before = answers(saga, step="pay\x00"), everything_about(saga)

    assert client_of(operator).post(url(operation, saga), asked).status_code == 400
    assert everything_about(saga) == before


def test_a_double_click_is_one_operation(operator: User) -> None:
    saga = trip("down")
    client, asked = client_of(operator), answers(saga)

    assert client.post(url("retry", saga), asked).status_code == 302
    assert client.post(url("retry", saga), asked).status_code == 302

    assert saga.operations.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_the_same_moment_are_one_operation() -> None:
    saga = trip("down")
    grace = staff("grace", "view_sagainstance", "pause_saga")
    asked = answers(saga)
    clients = [client_of(grace), client_of(grace)]

    responses = race([lambda c=client: c.post(url("pause", saga), asked) for client in clients])

    assert [response.status_code for response in responses] == [302, 302]
    assert saga.operations.count() == 1


def test_the_id_of_an_operation_on_another_saga_does_nothing(operator: User) -> None:
    first, second = trip("down", "ada"), trip("down", "grace")
    client, used = client_of(operator), str(uuid4())
    client.post(url("retry", first), answers(first, operation=used))
    before = everything_about(second)

    response = client.post(url("retry", second), answers(second, operation=used))

    assert response.status_code == 409
    assert used not in text_of(response)
    assert everything_about(second) == before
    assert Operation.objects.count() == 1


# --- an outcome that nobody knows -----------------------------------------------------------------------


def test_the_operator_is_told_what_a_receipt_has(operator: User) -> None:
    response = client_of(operator).get(url("resolve", trip("lost")))

    assert response.context["target"] == "pay"
    assert [(field.name, field.kind) for field in response.context["receipt_fields"]] == [
        ("intent_id", "str"),
        ("amount", "int"),
    ]
    assert "&quot;intent_id&quot;: null" in text_of(response)


def test_what_happened_is_taken_over_with_its_receipt(operator: User) -> None:
    saga = trip("lost")
    asked = answers(saga, happened="yes", receipt='{"intent_id": "pi_7", "amount": 1999}', reason="seen at the bank")

    client_of(operator).post(url("resolve", saga), asked)

    step = saga.steps.get(name="pay")
    assert (step.action, step.receipt) == ("SUCCEEDED", {"intent_id": "pi_7", "amount": 1999})
    done = saga.operations.get()
    assert (done.step, done.detail["happened"]) == ("pay", True)


def test_what_did_not_happen_is_tried_again(operator: User) -> None:
    saga = trip("lost")

    client_of(operator).post(url("resolve", saga), answers(saga, happened="no", receipt='{"intent_id": null}'))

    assert saga.steps.get(name="pay").action == "PENDING"
    assert saga.operations.get().detail == {"happened": False, "receipt": None}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"happened": "yes", "receipt": '{"intent_id": null, "amount": null}'}, 409),
        ({"happened": "yes", "receipt": "{}"}, 409),
        ({"happened": "yes", "receipt": ""}, 409),
        ({"happened": "yes", "receipt": "{broken"}, 400),
        ({"happened": "yes", "receipt": '{"intent_id": "\\u0000", "amount": 1}'}, 400),
        ({"happened": "perhaps"}, 400),
        ({"happened": ""}, 400),
        ({"step": ""}, 400),
        ({"step": "no_such_step"}, 409),
        ({"step": "reserve_seat"}, 409),
    ],
)
def test_a_wrong_resolution_is_refused(operator: User, changes: dict[str, Any], status: int) -> None:
    saga = trip("lost")
    asked, before = answers(saga, **changes), everything_about(saga)

    assert client_of(operator).post(url("resolve", saga), asked).status_code == status
    assert everything_about(saga) == before


def test_what_was_done_is_listed_for_all_sagas(operator: User) -> None:
    saga = trip("down")
    client_of(operator).post(url("pause", saga), answers(saga, reason=f"night {MARKUP}"))

    text = text_of(client_of(staff("auditor", "view_operation")).get(reverse("admin:sagas_operation_changelist")))

    assert "night &lt;script&gt;" in text
    assert MARKUP not in text
