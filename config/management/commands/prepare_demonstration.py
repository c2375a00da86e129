"""`manage.py prepare_demonstration`: what `manage.py up` does before the shop opens. Safe to repeat."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import BaseCommand

from sagas.roles import Role

DEMONSTRATION_STAFF = {"viewer": Role.VIEWER, "operator": Role.OPERATOR, "supervisor": Role.SUPERVISOR}
DEMONSTRATION_ADMIN = DEMONSTRATION_PASSWORD = "admin"  # noqa: S105 - only while DEBUG


class Command(BaseCommand):
    help = "Migrate, make the demonstration's admin and staff (only while DEBUG) and its catalogue."

    def handle(self, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        if settings.DEBUG:
            make_demonstration_admin()
            make_demonstration_staff()
        call_command("seed_catalogue")


def make_demonstration_admin() -> None:
    """Make admin / admin, unless somebody of that name is there."""
    users = get_user_model()._default_manager
    if not users.filter(username=DEMONSTRATION_ADMIN).exists():
        users.create_superuser(DEMONSTRATION_ADMIN, "admin@localhost", DEMONSTRATION_PASSWORD)


def make_demonstration_staff() -> None:
    """Make one person for each role of the operator's room; the password is the name."""
    users = get_user_model()._default_manager
    for name, role in DEMONSTRATION_STAFF.items():
        if not users.filter(username=name).exists():
            user = users.create_user(name, f"{name}@localhost", name, is_staff=True)
            user.groups.add(Group.objects.get(name=role.value))
