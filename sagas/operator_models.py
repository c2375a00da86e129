"""The rows of the operator's room besides `Operation`: what was denied, what waits for a second person, what is retried
together. `denials`, `proposals` and `bulk` write them."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from sagas.models import SagaInstance


class DeniedOperation(models.Model):
    """Somebody tried what they may not do; written although, and after, nothing was done. Append-only.

    The saga is named and not referred to: who tries may name one that is not there.
    """

    saga_id = models.UUIDField(null=True)
    name = models.CharField(max_length=20)
    target = models.CharField(max_length=301, blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    why = models.CharField(max_length=300)
    at = models.DateTimeField()

    class Meta:
        verbose_name = "denied attempt"
        ordering: ClassVar = ["-at", "-id"]
        indexes: ClassVar = [models.Index(fields=["-at", "-id"], name="denied_newest")]

    def __str__(self) -> str:
        return f"{self.name} by {self.actor}"


class Proposal(models.Model):
    """What one person says became of an unknown outcome, until a second person confirms it.

    ``attempts`` is the count of the step's attempts then: what was tried again since may have come to something else.
    """

    saga = models.ForeignKey(SagaInstance, on_delete=models.CASCADE, related_name="proposals")
    step = models.CharField(max_length=100)
    attempts = models.PositiveIntegerField()
    happened = models.BooleanField()
    receipt = models.JSONField(null=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    reason = models.TextField()
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint("saga", "step", name="proposal_one_per_step")]

    def __str__(self) -> str:
        return f"{self.step}: {'happened' if self.happened else 'did not happen'}, says {self.actor}"


class BulkRetry(models.Model):
    """Many sagas that are retried in growing waves. The rows are all that its driver knows: it may die."""

    class State(models.TextChoices):
        RUNNING = "RUNNING", "running"
        STOPPED = "STOPPED", "stopped"
        DONE = "DONE", "done"

    id = models.UUIDField(primary_key=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    chosen = models.CharField(max_length=300, help_text="What was chosen, in words.")
    state = models.CharField(max_length=7, choices=State.choices, default=State.RUNNING)
    why = models.CharField(max_length=500, blank=True)
    wave = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "bulk retry"
        verbose_name_plural = "bulk retries"
        ordering: ClassVar = ["-started_at", "-id"]
        permissions: ClassVar = [("start_bulkretry", "Can retry many sagas at once, and stop it")]
        indexes: ClassVar = [
            models.Index(fields=["-started_at", "-id"], name="bulk_newest"),
            models.Index("id", name="bulk_open", condition=Q(ended_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.chosen}, by {self.actor}"


class BulkItem(models.Model):
    """One saga of a bulk retry. ``operation_id`` is made with the row, so that its retry is done once."""

    class State(models.TextChoices):
        QUEUED = "QUEUED", "not tried yet"
        RUNNING = "RUNNING", "still running"
        RECOVERED = "RECOVERED", "recovered"
        SAME = "SAME", "failed the same way"
        OTHER = "OTHER", "failed differently"
        REFUSED = "REFUSED", "not retried"

    bulk = models.ForeignKey(BulkRetry, on_delete=models.CASCADE, related_name="items", db_index=False)
    # The saga may be purged; what came of its retry stays.
    saga = models.ForeignKey(SagaInstance, null=True, on_delete=models.SET_NULL, related_name="+")
    operation_id = models.UUIDField()
    wave = models.PositiveSmallIntegerField(default=0)
    state = models.CharField(max_length=9, choices=State.choices, default=State.QUEUED)
    position = models.PositiveSmallIntegerField(null=True)
    side = models.CharField(max_length=12, blank=True)
    fingerprint = models.CharField(max_length=16, blank=True, help_text="Of the last attempt that failed before.")
    said = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint("bulk", "saga", name="bulk_item_once")]
        indexes: ClassVar = [models.Index("bulk", "state", "id", name="bulk_item_by_state")]

    def __str__(self) -> str:
        return f"{self.saga}: {self.state}"


class UnknownOutcome(SagaInstance):
    """A saga of which nobody knows what became of a call: the queue of `admin.unknown_admin`."""

    class Meta:
        proxy = True
        verbose_name = "unknown outcome"
