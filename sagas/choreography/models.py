"""The outbox: what happened, stored in the commit that did it; and what other services told us."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from sagas.models import SagaInstance

MAX_SUBJECT = 150


class OutboxEvent(models.Model):
    """One event. ``due_at`` says that it has still to be carried to who subscribed, and when to try.

    ``id`` counts in the order of this database; ``event_id`` is what the world knows it by.
    """

    event_id = models.UUIDField(unique=True, editable=False)
    type = models.CharField(max_length=100)
    source = models.CharField(max_length=100)
    subject = models.CharField(max_length=MAX_SUBJECT)
    time = models.DateTimeField()
    data = models.JSONField()
    cause_id = models.UUIDField(null=True)
    correlation_id = models.UUIDField()
    due_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)

    class Meta:
        app_label = "sagas"
        verbose_name = "event of the outbox"
        verbose_name_plural = "events of the outbox"
        indexes: ClassVar = [
            # The claim: what is due, and whether something of its subject comes before it.
            models.Index("due_at", name="outbox_due", condition=Q(due_at__isnull=False)),
            models.Index("subject", "id", name="outbox_waiting", condition=Q(due_at__isnull=False)),
            # The page of a flow, and what a handler heard before.
            models.Index(fields=["subject", "-id"], name="outbox_by_subject"),
            models.Index(fields=["correlation_id", "type"], name="outbox_by_correlation"),
            # Lists, and the purge.
            models.Index(fields=["type", "-id"], name="outbox_by_type"),
            models.Index("time", name="outbox_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subject}"


class FlowRun(SagaInstance):
    """A saga that waits for the end of a declared flow, for a list of its own."""

    class Meta:
        proxy = True
        app_label = "sagas"
        verbose_name = "flow"


class DeadLetter(SagaInstance):
    """A handler's saga that stands still with its event, for a list of its own."""

    class Meta:
        proxy = True
        app_label = "sagas"
        verbose_name = "dead letter"
