"""The three roles of the operator's room, as groups that every `migrate` makes and puts right.

Whoever wants another cut makes groups of their own: these are the code's.
"""

from collections import defaultdict
from enum import StrEnum
from typing import Any

from django.apps import AppConfig
from django.contrib.auth import get_permission_codename
from django.contrib.auth.models import Group, Permission
from django.db.models import Model, Q


class Role(StrEnum):
    """Each may do what the ones before it may."""

    VIEWER = "Saga viewers"
    OPERATOR = "Saga operators"
    SUPERVISOR = "Saga supervisors"


_granted: dict[Role, set[str]] = defaultdict(set)


def grant(role: Role, *permissions: str) -> None:
    """Let a role, and those above it, do more: ``app.codename``. Call it in `AppConfig.ready`."""
    _granted[role].update(permissions)


def permissions_of(role: Role) -> set[str]:
    """All that a role may do."""
    roles = list(Role)
    return set().union(*(_granted[each] for each in roles[: roles.index(role) + 1]))


def view_permission(model: type[Model]) -> str:
    """What somebody needs to see rows of a table."""
    return f"{model._meta.app_label}.{get_permission_codename('view', model._meta)}"


def make_roles(sender: AppConfig, using: str = "default", **_: Any) -> None:
    """After an app is migrated: give each role its permissions of that app, those and no other."""
    for role in Role:
        names = [name.partition(".")[2] for name in permissions_of(role) if name.startswith(f"{sender.label}.")]
        if not names:
            continue
        group, _created = Group.objects.using(using).get_or_create(name=role.value)
        mine = Permission.objects.using(using).filter(content_type__app_label=sender.label)
        held = group.permissions.filter(Q(content_type__app_label=sender.label))
        group.permissions.remove(*held.exclude(codename__in=names))
        group.permissions.add(*mine.filter(codename__in=names))


# What is looked at.
grant(
    Role.VIEWER,
    "sagas.view_sagainstance",
    "sagas.view_operation",
    "sagas.view_deniedoperation",
    "sagas.view_alert",
    "sagas.view_semanticlock",
    "sagas.view_periodicjob",
    "sagas.view_bulkretry",
    "sagas.view_unknownoutcome",
)
# What helps a saga on, or turns it back, as its plan says.
grant(
    Role.OPERATOR,
    "sagas.retry_saga",
    "sagas.start_bulkretry",
    "sagas.compensate_saga",
    "sagas.resolve_saga",
    "sagas.pause_saga",
    "sagas.reschedule_saga",
    "sagas.review_saga",
)
# What the plan did not foresee: effects may stay behind, or others see what is half done.
grant(
    Role.SUPERVISOR,
    "sagas.edit_saga",
    "sagas.skip_saga",
    "sagas.waive_saga",
    "sagas.release_saga",
    "sagas.abandon_saga",
)
