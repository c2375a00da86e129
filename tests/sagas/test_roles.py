"""Viewer, operator, supervisor: what each may do, everywhere; and that what was denied is written down."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from config.management.commands.prepare_demonstration import make_demonstration_staff
from sagas import operations
from sagas.operating import PERMISSIONS
from sagas.operator_models import DeniedOperation
from sagas.roles import Role, make_roles
from tests.sagas.operators import (
    answers,
    bank_is_itself_again,
    client_of,
    everything_about,
    text_of,
    trip,
    url,
)

__all__ = ["bank_is_itself_again"]

MAY = {
    "nobody": set(),
    "staff": set(),
    Role.VIEWER: set(),
    Role.OPERATOR: {
        "retry",
        "compensate",
        "resolve",
        "confirm",
        "pause",
        "resume",
        "reschedule",
        "review",
    },
    Role.SUPERVISOR: set(PERMISSIONS),
}


@pytest.fixture(autouse=True)
def groups(db: None) -> None:
    for app in apps.get_app_configs():
        make_roles(app)


def somebody(role: str) -> User | None:
    if role == "nobody":
        return None
    user = User.objects.create_user(role, password=None, is_staff=True)
    if role != "staff":
        user.groups.add(Group.objects.get(name=role))
    return user


def said(saga: Any, name: str) -> dict[str, Any]:
    """What a program would send."""
    of_page = answers(saga, happened=False, payload={"traveller": "ada", "wish": "a window"})
    words = {word: of_page[word] for word in ("reason", "version", "step", "lock", "happened", "payload")}
    return {**words, "at": "2030-01-31T12:00:00Z", "wait_seconds": 0}


@pytest.mark.parametrize("role", list(MAY))
def test_what_a_role_may_not_do_is_refused_everywhere_and_written_down(role: str) -> None:
    saga, user = trip("down"), somebody(role)
    before = everything_about(saga)
    browser, api = client_of(user), APIClient()
    if user is not None:
        api.force_authenticate(user)

    for name in set(PERMISSIONS) - MAY[role]:
        shown = browser.get(url(name, saga)).status_code
        posted = browser.post(url(name, saga), answers(saga)).status_code
        called = api.post(f"/api/v1/sagas/{saga.pk}/{name}/", said(saga, name), format="json").status_code
        assert (shown, posted, called) == ((302, 302, 401) if user is None else (403, 403, 403)), name
        denied = DeniedOperation.objects.filter(name=name).values_list("actor", "saga_id")
        assert list(denied) == ([] if user is None else [(user.pk, saga.pk)] * 2)

    assert everything_about(saga) == before


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.SUPERVISOR])
def test_what_a_role_may_do_is_open_to_it_everywhere(monkeypatch: pytest.MonkeyPatch, role: Role) -> None:
    monkeypatch.setattr("sagas.admin.operating.FOLLOW_SECONDS", 0)
    saga, user = trip("down"), somebody(role)
    browser, api = client_of(user), APIClient()
    api.force_authenticate(user)

    for name in MAY[role]:
        assert browser.get(url(name, saga)).status_code == 200, name
    assert browser.post(url("pause", saga), answers(saga)).status_code == 302
    assert api.post(f"/api/v1/sagas/{saga.pk}/resume/", said(saga, "resume"), format="json").status_code == 200
    assert [done.name for done in saga.operations.order_by("at")] == ["pause", "resume"]
    assert not DeniedOperation.objects.exists()


def test_a_denied_attempt_says_who_wanted_what_and_why_not_and_the_admin_lists_it() -> None:
    saga, viewer = trip("down"), somebody(Role.VIEWER)
    assert viewer is not None

    with pytest.raises(PermissionDenied):
        operations.release(saga.pk, operations.Request(saga.pk, viewer, "let me", 1), lock="tests.traveller ada")

    denied = DeniedOperation.objects.get()
    assert (denied.actor, denied.name, denied.saga_id, denied.target, denied.why) == (
        viewer,
        "release",
        saga.pk,
        "tests.traveller ada",
        "You may not release sagas.",
    )
    listed = text_of(client_of(viewer).get("/admin/sagas/deniedoperation/"))
    assert "You may not release sagas." in listed
    assert url("change", saga) in listed


def test_looking_at_what_one_may_not_do_is_no_attempt() -> None:
    client_of(somebody(Role.VIEWER)).get(url("retry", trip("down")))

    assert not DeniedOperation.objects.exists()


def test_migrating_again_puts_a_role_right_and_leaves_other_permissions_alone() -> None:
    group = Group.objects.get(name=Role.OPERATOR)
    group.permissions.remove(Permission.objects.get(codename="retry_saga"))
    group.permissions.add(
        Permission.objects.get(codename="abandon_saga"), Permission.objects.get(codename="add_session")
    )

    make_roles(apps.get_app_config("sagas"))

    codenames = set(group.permissions.values_list("codename", flat=True))
    assert codenames >= {"retry_saga", "view_sagainstance", "view_order", "add_session"}
    assert "abandon_saga" not in codenames


def test_the_demonstration_has_somebody_for_each_role() -> None:
    for _ in range(2):  # safe to repeat
        make_demonstration_staff()

    roles = User.objects.filter(groups__isnull=False).values_list("username", "groups__name", "is_staff")
    assert set(roles) == {
        ("viewer", Role.VIEWER, True),
        ("operator", Role.OPERATOR, True),
        ("supervisor", Role.SUPERVISOR, True),
    }


def test_a_command_in_the_name_of_a_viewer_is_denied_and_written_down() -> None:
    saga = trip("down")
    somebody(Role.VIEWER)
    before = everything_about(saga)

    with pytest.raises(CommandError) as caught:
        call_command("sagas", "retry", str(saga.pk), "--actor", Role.VIEWER, "--reason", "now", "--wait", "0")

    assert (str(caught.value), caught.value.returncode) == ("You may not retry sagas.", 3)
    assert everything_about(saga) == before
    assert DeniedOperation.objects.get().name == "retry"
