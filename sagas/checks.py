"""Django system checks: what would go wrong at night is said when the process starts."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

from sagas.attempts import LEASE_MARGIN
from sagas.choreography import events
from sagas.choreography.broker import TRANSPORTS
from sagas.codec import receipt_type
from sagas.definition import registry
from sagas.jobs import QUEUE
from sagas.models import PeriodicJob
from sagas.periodic import registry as periodic_jobs
from sagas.states import Side

SHORTEST_SECRET = 16
_LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


@register(Tags.database)
def database_is_fit(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """PostgreSQL, with limits: a worker frozen in a transaction must lose its rows before a lease is over.

    What the settings ask for is looked at whenever a command starts. What the session has is looked at where the
    database is to be asked, by `migrate` and ``check --database default``: a pooler may not hand it on.
    """
    connection = connections["default"]
    if connection.vendor != "postgresql":
        hint = "SQLite ignores SKIP LOCKED silently, MySQL differs in what it locks. Use PostgreSQL."
        return [Error("Sagas need PostgreSQL.", hint=hint, id="sagas.E001")]
    if "default" not in (databases or ()):
        options = str(connection.settings_dict.get("OPTIONS", {}).get("options", ""))
        hint = "Add `-c {}=...` to OPTIONS['options'] of the database."
        return [
            Error(f"The connection to the database asks for no {name}.", hint=hint.format(name), id="sagas.E002")
            for name in _LIMITS
            if f"{name}=" not in options
        ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting::int FROM pg_settings WHERE name = ANY(%s) ORDER BY name", [list(_LIMITS)])
        found = cursor.fetchall()
    most = LEASE_MARGIN // timedelta(milliseconds=1)
    return [
        Error(
            f"The session has a {name} of {limit} ms, so one frozen worker can hold a saga for too long.",
            hint=f"Between 1 and {most} ms; behind a pooler that does not hand it on: ALTER ROLE ... SET {name}.",
            id="sagas.E013",
        )
        for name, limit in found
        if not 0 < limit <= most
    ]


@register()
def queue_is_fit(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """The queue exists, and it carries JSON."""
    queue = getattr(settings, "RQ_QUEUES", {}).get(QUEUE)
    if queue is None:
        return [Error(f"RQ_QUEUES has no queue {QUEUE!r}.", hint="Add it with URL and SERIALIZER.", id="sagas.E003")]
    if "JSON" not in str(queue.get("SERIALIZER", "")):
        hint = "Set SERIALIZER to 'rq.serializers.JSONSerializer'."
        return [Error("The queue of sagas unpickles what it is given.", hint=hint, id="sagas.E004")]
    return []


@register()
def definitions_are_fit(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Data and receipts of every plan can be stored as JSON and read back; time-outs are real."""
    found: list[CheckMessage] = []
    for plan in registry.values():
        kinds = {"its data": plan.data_type}
        for step in plan.steps:
            kinds[f"the receipt of {step.name}"] = receipt_type(step)
            if any(step.is_remote(side) for side in Side) and step.spec.timeout <= timedelta(0):
                found.append(
                    Error(f"{plan.name}: {step.name} has no time limit.", hint="Give it a timeout.", id="sagas.E006")
                )
        for what, kind in kinds.items():
            try:
                msgspec.inspect.type_info(kind)
                msgspec.json.schema(kind)
            except TypeError as error:
                hint = "Use dataclasses of str, int, bool, Decimal, datetime, UUID, lists and dicts of them."
                found.append(Error(f"{plan.name}: {what} cannot be stored: {error}", hint=hint, id="sagas.E005"))
    return found


@register()
def events_are_fit(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Every event can be told as JSON, through a transport that is there."""
    found: list[CheckMessage] = []
    if settings.EVENTS_TRANSPORT not in TRANSPORTS:
        hint = f"Set EVENTS_TRANSPORT to one of: {', '.join(TRANSPORTS)}."
        found.append(Error(f"Events cannot be carried by {settings.EVENTS_TRANSPORT!r}.", hint=hint, id="sagas.E010"))
    for payload, name in events.names.items():
        try:
            msgspec.json.schema(payload)
        except TypeError as error:
            hint = "Use dataclasses of str, int, bool, Decimal, datetime, UUID, lists and dicts of them."
            found.append(Error(f"The payload of {name} cannot be told: {error}", hint=hint, id="sagas.E011"))
    return found


@register()
def periodic_jobs_are_fit(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Each periodic job has a row of its own, and comes round."""
    found: list[CheckMessage] = []
    names = [job.name for job in periodic_jobs]
    longest = PeriodicJob._meta.get_field("name").max_length or 0
    for name in sorted({name for name in names if names.count(name) > 1}):
        hint = "Register a function once, and give each function a name of its own in its module."
        found.append(Error(f"Two periodic jobs are called {name}; only one would run.", hint=hint, id="sagas.E007"))
    for job in periodic_jobs:
        if job.every <= timedelta(0) or job.limit <= timedelta(0):
            hint = "Use periodic(every=seconds(60), limit=minutes(2)) or the like."
            found.append(
                Error(f"The periodic job {job.name} needs a positive period and limit.", hint=hint, id="sagas.E008")
            )
        if len(job.name) > longest:
            hint = "Give its function or its module a shorter name."
            found.append(Error(f"{job.name} is longer than {longest} characters.", hint=hint, id="sagas.E009"))
    return found


@register()
def alerts_are_fit(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Whoever gets the webhook can tell that it is ours."""
    if settings.SAGAS_ALERT_WEBHOOK_URL and len(settings.SAGAS_ALERT_WEBHOOK_SECRET) < SHORTEST_SECRET:
        hint = f"Set SAGAS_ALERT_WEBHOOK_SECRET to {SHORTEST_SECRET} or more random characters, and tell the receiver."
        return [Error("Alerts are posted without a secret: anybody could forge them.", hint=hint, id="sagas.E012")]
    return []
