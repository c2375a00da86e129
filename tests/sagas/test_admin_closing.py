"""The pages of the operations on waits, and of those that close what cannot get on."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.sagas.operators import (
    answers,
    bank_is_itself_again,
    client_of,
    everything_about,
    operator,
    saga_for,
    text_of,
    url,
)

__all__ = ["bank_is_itself_again", "operator"]


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("2030-01-31T12:00", "2030-01-31T12:00:00+00:00"),
        ("2030-01-31T12:00:07", "2030-01-31T12:00:07+00:00"),
        ("", None),
    ],
)
def test_a_due_date_is_moved_or_taken_away(operator: User, typed: str, stored: str | None) -> None:
    saga = saga_for("reschedule")

    response = client_of(operator).post(url("reschedule", saga), answers(saga, at=typed), follow=True)

    due_at = saga.steps.get(name="decide").due_at
    assert (due_at and due_at.isoformat()) == stored
    assert saga.operations.get().detail["to"] == stored
    [message] = response.context["messages"]
    assert str(message).startswith("Reschedule: Waits for a person: decide")


def test_the_form_shows_the_due_date_of_now(operator: User) -> None:
    saga = saga_for("reschedule")
    due_at = saga.steps.get(name="decide").due_at
    assert due_at is not None

    text = text_of(client_of(operator).get(url("reschedule", saga)))

    assert f'value="{due_at:%Y-%m-%dT%H:%M:%S}"' in text
    assert 'type="datetime-local"' in text


@pytest.mark.parametrize("changes", [{"at": "tomorrow"}, {"at": "2030-13-01T00:00"}, {"step": ""}])
def test_a_due_date_that_is_none_is_refused(operator: User, changes: dict[str, Any]) -> None:
    saga = saga_for("reschedule")
    asked, before = answers(saga, **changes), everything_about(saga)

    assert client_of(operator).post(url("reschedule", saga), asked).status_code == 400
    assert everything_about(saga) == before


def test_the_operator_reads_what_abandoning_would_leave_behind(operator: User) -> None:
    response = client_of(operator).get(url("abandon", saga_for("resolve")))

    assert response.context["left_behind"] == ["reserve_seat", "pay"]
    assert "<code>reserve_seat</code>" in text_of(response)


def test_what_was_left_behind_stands_on_the_page_of_an_abandoned_saga(operator: User) -> None:
    text = text_of(client_of(operator).get(url("change", saga_for("review"))))

    assert "abandoned; left behind: reserve_seat" in text
    assert 'id="offer-review"' in text


def test_a_step_is_skipped_without_a_receipt_where_it_has_none(operator: User) -> None:
    saga = saga_for("skip")

    asked = client_of(operator).get(url("skip", saga))
    client_of(operator).post(url("skip", saga), answers(saga))

    assert (asked.context["target"], "receipt" in asked.context["form"].fields) == ("send_ticket", False)
    saga.refresh_from_db()
    assert saga.status == "COMPLETED"
