"""Without DEBUG the project refuses to start with anything that is public knowledge or made up.

Registered as system checks, which stop every management command, and called by `config.wsgi`,
which no check stops.
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, register, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections

PRODUCTION = "production"
KNOWN_PASSWORDS = frozenset(
    {"admin", "changeme", "demo", "example", "password", "postgres", "root", "secret", "shop", "test"}
)
OUTSIDE_SERVICES = ("BANK", "CARRIER")

Check = Callable[..., list[CheckMessage]]


def refuse_unsafe_production() -> None:
    """Raise `ImproperlyConfigured`, with every way out, where a check above finds an error."""
    errors = [message for message in run_checks(tags=[PRODUCTION], databases=["default"]) if message.is_serious()]
    connections.close_all()  # gunicorn forks its workers after this; they must not share a connection
    if errors:
        raise ImproperlyConfigured("\n".join(f"{error.msg} {error.hint}" for error in errors))


def only_in_production(check: Check) -> Check:
    def guarded(app_configs: Sequence[Any] | None, **options: Any) -> list[CheckMessage]:
        return [] if settings.DEBUG else check(app_configs, **options)

    return guarded


@register(PRODUCTION)
@only_in_production
def check_secret_key(app_configs: Sequence[Any] | None, **options: Any) -> list[CheckMessage]:
    if settings.SECRET_KEY != settings.INSECURE_SECRET_KEY:
        return []
    return [
        Error(
            "SECRET_KEY is the one in the source code: anybody can forge sessions and tokens.",
            hint='Set SECRET_KEY to 50 random characters: python -c "import secrets; print(secrets.token_urlsafe(50))"',
            id="config.E001",
        )
    ]


@register(PRODUCTION)
@only_in_production
def check_sandbox_is_off(app_configs: Sequence[Any] | None, **options: Any) -> list[CheckMessage]:
    if not settings.SANDBOX:
        return []
    return [
        Error(
            "SANDBOX is on: the demonstration bank and carrier may run, and they move no money and no parcel.",
            hint="Remove SANDBOX from the environment, or set DEBUG=true for a demonstration.",
            id="config.E002",
        )
    ]


@register(PRODUCTION)
@only_in_production
def check_outside_credentials(app_configs: Sequence[Any] | None, **options: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{name} is empty or the sandbox's.",
            hint=f"Set {name} to the value of your account at the {name.split('_')[0].lower()}.",
            id="config.E003",
        )
        for name in credential_names()
        if is_made_up(getattr(settings, name))
    ]


def credential_names() -> Iterable[str]:
    for service in OUTSIDE_SERVICES:
        yield f"{service}_API_KEY"
        yield f"{service}_WEBHOOK_SECRETS"


def is_made_up(value: str | list[str]) -> bool:
    values = [value] if isinstance(value, str) else value
    return not values or any(not one or "sandbox" in one for one in values)


@register(PRODUCTION)
@only_in_production
def check_outside_addresses(app_configs: Sequence[Any] | None, **options: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{service}_URL is {getattr(settings, f'{service}_URL')!r}: not a service on the internet over https.",
            hint=f"Set {service}_URL to the https address of the {service.lower()}, or remove it to get the default.",
            id="config.E004",
        )
        for service in OUTSIDE_SERVICES
        if not is_public_https(getattr(settings, f"{service}_URL"))
    ]


def is_public_https(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.hostname == "localhost":
        return False
    try:
        return not ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:  # a name, not an address
        return True


@register(PRODUCTION)
@only_in_production
def check_database_password(app_configs: Sequence[Any] | None, **options: Any) -> list[CheckMessage]:
    database = settings.DATABASES["default"]
    password = database.get("PASSWORD", "").lower()
    if settings.DATABASE_URL == settings.NO_DATABASE_URL:
        problem, remedy = "DATABASE_URL is not set.", "Set DATABASE_URL=postgres://user:password@host/name."
    elif password in KNOWN_PASSWORDS or (password and password == database.get("USER", "").lower()):
        problem = "The password in DATABASE_URL is one that everybody tries first."
        remedy = "Give the database user a random password and set it in DATABASE_URL."
    else:
        return []
    return [Error(problem, hint=remedy, id="config.E005")]


# Made by `prepare_demonstration`, each with its name as the password.
DEMONSTRATION_USERS = ("admin", "viewer", "operator", "supervisor")


@register(PRODUCTION, Tags.database)
@only_in_production
def check_demonstration_users(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **options: Any
) -> list[CheckMessage]:
    """A database that once served a demonstration still lets in whoever knows that names were passwords there."""
    if not databases:
        return []
    try:
        users = list(get_user_model()._default_manager.filter(username__in=DEMONSTRATION_USERS, is_active=True))
    except DatabaseError:  # not reachable or not migrated: nobody can log in either
        return []
    return [
        Error(
            f"The user {user.get_username()} has the demonstration's password, {user.get_username()}.",
            hint=f"Change it: manage.py changepassword {user.get_username()} (or delete the user).",
            id="config.E006",
        )
        for user in users
        if user.check_password(user.get_username())
    ]
