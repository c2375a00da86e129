"""Who may act on a saga in the admin, and what each sees."""

import pytest
from django.contrib.auth.models import User

from sagas.operator_models import DeniedOperation
from tests.sagas.operators import (
    OPERATIONS,
    PERMISSIONS,
    answers,
    bank_is_itself_again,
    client_of,
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


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_anonymous_visitor_is_sent_to_the_login(db: None, operation: str) -> None:
    saga = saga_for(operation)
    before = everything_about(saga)

    for response in (
        client_of(None).get(url(operation, saga)),
        client_of(None).post(url(operation, saga), answers(saga)),
    ):
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/")

    assert everything_about(saga) == before


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "kind", ["customer", "staff without any", "viewer", "all but this one", "this one without view"]
)
def test_without_the_permission_an_operation_is_refused(db: None, operation: str, kind: str) -> None:
    saga = saga_for(operation)
    everything = {"view_sagainstance", *PERMISSIONS.values()}
    granted = {
        "customer": everything,
        "staff without any": set(),
        "viewer": {"view_sagainstance"},
        "all but this one": everything - {PERMISSIONS[operation]},
        "this one without view": {PERMISSIONS[operation]},
    }[kind]
    user = staff("somebody", *granted)
    if kind == "customer":
        user.is_staff = False
        user.save()
    client, before = client_of(user), everything_about(saga)

    shown = client.get(url(operation, saga))
    posted = client.post(url(operation, saga), answers(saga))

    refused = 302 if kind == "customer" else 403
    assert (shown.status_code, posted.status_code) == (refused, refused)
    assert everything_about(saga) == before


def test_that_it_was_tried_is_written_down_whatever_the_step_is_called(viewer: User) -> None:
    saga = saga_for("skip")

    response = client_of(viewer).post(url("skip", saga), {**answers(saga), "step": "pay\0"})

    assert response.status_code == 403
    assert [(denied.name, denied.actor) for denied in DeniedOperation.objects.all()] == [("skip", viewer)]


def test_a_viewer_sees_why_nothing_is_open(viewer: User) -> None:
    text = text_of(client_of(viewer).get(url("change", trip("down"))))

    for operation in OPERATIONS:
        assert f"You may not {operation} sagas." in text
        assert f'id="offer-{operation}"' not in text


def test_an_operator_sees_what_is_open_and_why_the_rest_is_not(operator: User) -> None:
    text = text_of(client_of(operator).get(url("change", trip("down"))))

    assert [name for name in OPERATIONS if f'id="offer-{name}"' in text] == [
        "retry",
        "edit",
        "compensate",
        "pause",
        "abandon",
    ]
    assert "No outcome of this saga is unknown." in text
    assert "The saga is not paused." in text


@pytest.mark.parametrize("operation", OPERATIONS)
def test_looking_changes_nothing(operator: User, operation: str) -> None:
    saga = saga_for(operation)
    client, before = client_of(operator), everything_about(saga)

    assert client.get(url("change", saga)).status_code == 200
    assert client.get(url(operation, saga), answers(saga)).status_code == 200

    assert everything_about(saga) == before


def test_the_operator_reads_what_turning_back_would_undo(operator: User) -> None:
    saga = trip("lost")
    way_back = client_of(operator).get(url("compensate", saga)).context["way_back"]

    assert [(undone.compensation, undone.step) for undone in way_back.undone] == [
        ("pay_back", "pay"),
        ("release_seat", "reserve_seat"),
    ]


def test_a_forged_post_is_refused(operator: User) -> None:
    saga = trip("down")
    client = client_of(operator)
    client.handler.enforce_csrf_checks = True
    before = everything_about(saga)

    assert client.post(url("retry", saga), answers(saga)).status_code == 403
    assert everything_about(saga) == before
