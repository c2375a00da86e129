"""What other apps call to publish, to subscribe, and to declare a flow."""

from sagas import services as sagas
from sagas.choreography.events import Delivery, Event, event
from sagas.choreography.flows import Flow, Station, declare
from sagas.choreography.outbox import heard, heard_before, latest, publish
from sagas.choreography.subscriptions import subscribe, subscriptions
from sagas.models import SemanticLock

__all__ = [
    "Delivery",
    "Event",
    "Flow",
    "Station",
    "declare",
    "event",
    "heard",
    "heard_before",
    "latest",
    "publish",
    "subscribe",
    "wake",
]


def wake(subject: str, *, why: str) -> None:
    """There is news from outside about a subject: handlers that pause look again now. See `sagas.services.wake`."""
    at_work = SemanticLock.objects.filter(resource_type__in=list(subscriptions), resource_id=subject)
    for definition, key in at_work.values_list("saga__definition", "saga__business_key"):
        sagas.wake(definition, key, why=why)
