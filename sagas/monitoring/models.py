"""The rows of what is watched."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


class Tally(models.Model):
    """How many sagas ended so, or attempts of one side of a step did, within a time. `tally` is its only writer.

    ``step`` and ``side`` are empty where sagas are counted. Rows outlive the sagas they speak of.
    """

    definition = models.CharField(max_length=100)
    step = models.CharField(max_length=100, blank=True)
    side = models.CharField(max_length=12, blank=True)
    outcome = models.CharField(max_length=12)
    at_most = models.FloatField(help_text="Seconds: the smallest bound they did not exceed, or infinity.")
    count = models.BigIntegerField()
    seconds = models.FloatField(help_text="How long all of them took together.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint("definition", "step", "side", "outcome", "at_most", name="tally_once"),
        ]

    def __str__(self) -> str:
        return f"{self.definition} {self.step} {self.side} {self.outcome}: {self.count}"


class TallyMark(models.Model):
    """Up to where `Tally` has counted: one row."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    ended_until = models.DateTimeField()
    attempt_until = models.BigIntegerField()
    # Attempts before that which had not ended when the others were counted.
    open_attempts = ArrayField(models.BigIntegerField())

    def __str__(self) -> str:
        return f"counted until {self.ended_until}"


class Condition(models.TextChoices):
    """What a person is told of."""

    STUCK = "STUCK", "saga stuck"
    COMPENSATION_FAILED = "COMPENSATION_FAILED", "compensation failed"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN", "outcome unknown too long"
    LOCK_TOO_OLD = "LOCK_TOO_OLD", "lock too old"
    AUDIT_VIOLATION = "AUDIT_VIOLATION", "audit violation"
    JOB_FAILED = "JOB_FAILED", "periodic job failed"
    SWEEPER_SILENT = "SWEEPER_SILENT", "sweeper silent"
    WORKERS_SILENT = "WORKERS_SILENT", "workers silent"


class Alert(models.Model):
    """One condition while it lasts. `alerts` is its only writer.

    ``fingerprint`` says what is the same trouble: sagas that fail alike share one alert, and while that
    is open nobody is told again. ``code`` is its page in the playbook.
    """

    condition = models.CharField(max_length=20, choices=Condition.choices)
    fingerprint = models.CharField(max_length=32)
    code = models.CharField(max_length=20)
    subject = models.CharField(max_length=300)
    message = models.TextField()
    count = models.PositiveIntegerField(help_text="How many sagas, locks or rows it is about, as seen last.")
    saga_id = models.UUIDField(null=True, help_text="One of them.")
    opened_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["fingerprint"], name="alert_one_open_per_fingerprint", condition=Q(resolved_at=None)
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-id"], name="alert_open", condition=Q(resolved_at=None)),
            models.Index("resolved_at", name="alert_resolved", condition=Q(resolved_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.get_condition_display()}: {self.subject}"


class AlertMessage(models.Model):
    """What has to be told to one channel, stored in the commit that found it. ``due_at`` is null when that is done.

    ``messages`` sends it, and tries again until it is taken: the row is the truth.
    """

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="messages")
    channel = models.CharField(max_length=10, choices=[("mail", "Mail"), ("webhook", "Webhook")])
    news = models.CharField(max_length=10, choices=[("opened", "Opened"), ("resolved", "Resolved")])
    due_at = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)

    class Meta:
        verbose_name = "alert message"
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint("alert", "channel", "news", name="alert_message_once"),
        ]
        indexes: ClassVar = [models.Index("due_at", name="alert_message_due", condition=Q(due_at__isnull=False))]

    def __str__(self) -> str:
        return f"{self.news} by {self.channel}"
