"""The rows of the engine. `starting` stores a saga, and `writing` alone changes it, its steps, attempts and events."""

from typing import ClassVar

import uuid_utils.compat as uuid_utils
from django.conf import settings
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models import Q

from sagas.outcomes import OutcomeKind
from sagas.states import LIVE, TERMINAL, ActionStatus, CompensationStatus, SagaStatus, Side, SuspendReason


class SagaInstance(models.Model):
    """One run of a saga. ``wake_at`` is the one recovery mechanism: a due saga is looked at.

    The counters of this table and of those that are written with it have no check that they are positive:
    PostgreSQL parses the checks of a table once a statement, and fourteen of them took a sixth of a write.
    """

    # Time-ordered (RFC 9562, version 7), so that the newest rows lie together; random enough that a
    # database restored from a backup never repeats an idempotency key.
    id = models.UUIDField(primary_key=True, default=uuid_utils.uuid7, editable=False)
    definition = models.CharField(max_length=100)
    definition_version = models.IntegerField()
    business_key = models.CharField(max_length=200)
    data = models.JSONField()
    # How often an operator edited ``data``: each edit begins new idempotency keys.
    edits = models.SmallIntegerField(db_default=0)
    status = models.CharField(max_length=12, choices=[(s, s.capitalize()) for s in SagaStatus])
    backward = models.BooleanField(default=False)
    pivot_passed = models.BooleanField(default=False)
    generation = models.IntegerField(default=0)
    version = models.IntegerField(default=1)
    wake_at = models.DateTimeField(null=True)
    waiting_on = models.JSONField(null=True)
    suspend_reason = models.CharField(max_length=20, blank=True, choices=[(r, r) for r in SuspendReason])
    attention = models.TextField(blank=True)
    blocked_on = models.CharField(max_length=301, blank=True)
    blocked_until = models.DateTimeField(null=True)
    failure = models.JSONField(null=True)
    stalls = models.SmallIntegerField(default=0)
    deadline_at = models.DateTimeField(null=True)
    # The trace it was started in (W3C traceparent); empty where nobody traces.
    trace = models.CharField(max_length=55, db_default="")
    caused_by = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="caused", db_index=False)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "saga"
        permissions: ClassVar = [
            ("retry_saga", "Can retry a saga"),
            ("compensate_saga", "Can turn a saga back"),
            ("resolve_saga", "Can resolve an unknown outcome"),
            ("edit_saga", "Can edit the data of a saga and retry it"),
            ("pause_saga", "Can pause and resume a saga"),
            ("reschedule_saga", "Can move and cancel a time limit"),
            ("skip_saga", "Can go past a step"),
            ("waive_saga", "Can accept an effect that is left behind"),
            ("release_saga", "Can take a lock from a saga that has not ended"),
            ("abandon_saga", "Can close a saga with what it leaves behind"),
            ("review_saga", "Can close the attention of an ended saga"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint("definition", "business_key", name="saga_one_per_definition_and_key"),
            # One for all, since each is parsed by itself.
            models.CheckConstraint(
                condition=Q(status__in=sorted(LIVE - {SagaStatus.SUSPENDED}), suspend_reason="")
                & (Q(wake_at__isnull=False) | Q(waiting_on__isnull=False))
                | Q(status=SagaStatus.SUSPENDED) & ~Q(suspend_reason="")
                | Q(
                    status__in=sorted(TERMINAL),
                    wake_at__isnull=True,
                    waiting_on__isnull=True,
                    ended_at__isnull=False,
                    suspend_reason="",
                ),
                name="saga_waits_as_its_status_says",
            ),
        ]
        indexes: ClassVar = [
            # The sweeper and the claim: what is due, oldest first.
            models.Index("wake_at", name="saga_due", condition=Q(wake_at__isnull=False)),
            # Lists: newest first, by status, by definition, by key.
            models.Index(fields=["status", "-id"], name="saga_by_status"),
            models.Index(fields=["definition", "-id"], name="saga_by_definition"),
            models.Index(OpClass("business_key", "text_pattern_ops"), name="saga_by_key"),
            # What a person has to look at.
            models.Index(
                fields=["-id"],
                name="saga_for_a_person",
                condition=~Q(attention="") | Q(status=SagaStatus.SUSPENDED),
            ),
            # Where nobody knows what became of a call: the engine still asks, or a person has to.
            models.Index(
                "id",
                name="saga_unknown",
                condition=Q(suspend_reason=SuspendReason.OUTCOME_UNKNOWN) | Q(waiting_on__kind="outcome"),
            ),
            models.Index("id", name="saga_live", condition=Q(status__in=sorted(LIVE))),
            # Most are caused by nothing.
            models.Index("caused_by", name="saga_caused_by", condition=Q(caused_by__isnull=False)),
            # What ended lately: the auditor, the purge.
            models.Index("ended_at", name="saga_ended", condition=Q(ended_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.definition} {self.business_key}"


class SagaStep(models.Model):
    """Where one step of a saga stands; the row appears when the step is first touched.

    Steps, attempts and events are written by one statement together with the row of their saga, and
    deleted together with it, so that PostgreSQL need not look for it a second time.
    """

    saga = models.ForeignKey(
        SagaInstance, on_delete=models.CASCADE, related_name="steps", db_index=False, db_constraint=False
    )
    position = models.SmallIntegerField()
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=13)
    action = models.CharField(max_length=10, choices=[(s, s.capitalize()) for s in ActionStatus])
    compensation = models.CharField(max_length=10, choices=[(s, s.capitalize()) for s in CompensationStatus])
    action_attempts = models.IntegerField(default=0)
    compensation_attempts = models.IntegerField(default=0)
    failures = models.IntegerField(default=0)
    token = models.IntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    receipt = models.JSONField(null=True)
    error = models.TextField(blank=True)
    updated_at = models.DateTimeField()

    class Meta:
        verbose_name = "step"
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint("saga", "position", name="step_one_per_position"),
            models.CheckConstraint(condition=Q(action__in=list(ActionStatus)), name="step_action_is_known"),
            models.CheckConstraint(
                condition=Q(compensation__in=list(CompensationStatus)), name="step_compensation_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class StepAttempt(models.Model):
    """One try of an action or a compensation. Written when it starts and once more when it ends."""

    saga = models.ForeignKey(
        SagaInstance, on_delete=models.CASCADE, related_name="attempts", db_index=False, db_constraint=False
    )
    position = models.SmallIntegerField()
    side = models.CharField(max_length=12, choices=[(s, s.capitalize()) for s in Side])
    number = models.IntegerField()
    step = models.CharField(max_length=100)
    generation = models.IntegerField()
    worker = models.CharField(max_length=100)
    idempotency_key = models.CharField(max_length=200)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, blank=True, choices=[(k, k.capitalize()) for k in OutcomeKind])
    error_class = models.CharField(max_length=200, blank=True)
    fingerprint = models.CharField(max_length=16, blank=True)
    message = models.TextField(blank=True)
    traceback = models.TextField(blank=True)

    class Meta:
        verbose_name = "attempt"
        ordering: ClassVar = ["started_at", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint("saga", "position", "side", "number", name="attempt_one_per_number"),
        ]
        # Only what failed has a fingerprint, so an attempt that went well costs these nothing.
        indexes: ClassVar = [
            # What failed lately.
            models.Index(fields=["-id"], name="attempt_failed", condition=~Q(fingerprint="")),
            # Everything that failed in one way.
            models.Index(fields=["fingerprint", "-id"], name="attempt_by_fingerprint", condition=~Q(fingerprint="")),
        ]

    def __str__(self) -> str:
        return f"{self.step} {self.side} {self.number}"


class SagaEvent(models.Model):
    """One change of one status, written in the commit that made it. Append-only."""

    saga = models.ForeignKey(SagaInstance, on_delete=models.CASCADE, related_name="events", db_constraint=False)
    step = models.CharField(max_length=100, blank=True)
    what = models.CharField(max_length=12)  # saga, action or compensation
    before = models.CharField(max_length=12, blank=True)
    after = models.CharField(max_length=12)
    actor = models.CharField(max_length=200)
    why = models.TextField(blank=True)
    generation = models.IntegerField()
    at = models.DateTimeField()

    class Meta:
        verbose_name = "event"
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.step or 'saga'} {self.what}: {self.before} to {self.after}"


class SemanticLock(models.Model):
    """A resource that a live saga holds. The unique row is the lock: inserts decide, never look-then-write."""

    resource_type = models.CharField(max_length=100)
    resource_id = models.CharField(max_length=200)
    # Null only inside the transaction of a writer that is no saga: see `locks.guard`.
    saga = models.ForeignKey(SagaInstance, null=True, on_delete=models.CASCADE, related_name="locks")
    # Whether another has asked for it since it was taken: only then can somebody be in line.
    wanted = models.BooleanField(db_default=False)
    taken_at = models.DateTimeField()

    class Meta:
        verbose_name = "semantic lock"
        constraints: ClassVar = [
            models.UniqueConstraint("resource_type", "resource_id", name="lock_one_holder_per_resource"),
        ]
        indexes: ClassVar = [models.Index("taken_at", "id", name="lock_by_age")]

    def __str__(self) -> str:
        return f"{self.resource_type} {self.resource_id}"


class LockWaiter(models.Model):
    """A saga in line for a resource that another one holds. First in, first out."""

    resource_type = models.CharField(max_length=100)
    resource_id = models.CharField(max_length=200)
    saga = models.ForeignKey(SagaInstance, on_delete=models.CASCADE, related_name="waits_in_line")
    since = models.DateTimeField()

    class Meta:
        verbose_name = "lock waiter"
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint("resource_type", "resource_id", "saga", name="lock_waiter_once"),
        ]
        indexes: ClassVar = [models.Index("resource_type", "resource_id", "id", name="lock_line")]

    def __str__(self) -> str:
        return f"{self.saga} for {self.resource_type} {self.resource_id}"


class Signal(models.Model):
    """The inbox: what happened outside of a saga that it waits for, or will. Stored before any effect.

    It names its saga by definition and key, so that it can come first. ``late`` says what became of a
    signal that came after the end.
    """

    definition = models.CharField(max_length=100)
    business_key = models.CharField(max_length=200)
    name = models.CharField(max_length=100)
    dedup_id = models.CharField(max_length=200)
    payload = models.JSONField()
    received_at = models.DateTimeField()
    consumed_at = models.DateTimeField(null=True)
    late = models.CharField(max_length=10, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint("definition", "business_key", "name", "dedup_id", name="signal_once"),
        ]
        indexes: ClassVar = [
            # What a saga can consume, first in first out.
            models.Index(
                "definition",
                "business_key",
                "name",
                "id",
                name="signal_buffered",
                condition=Q(consumed_at=None, late=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} for {self.definition} {self.business_key}"


class Operation(models.Model):
    """What a person did to a saga, and why; written in the commit that did it. Append-only.

    ``id`` is made by the page that offers the operation, so that a double click is one row.
    """

    id = models.UUIDField(primary_key=True)
    saga = models.ForeignKey(SagaInstance, on_delete=models.CASCADE, related_name="operations")
    name = models.CharField(max_length=20)
    step = models.CharField(max_length=100, blank=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    detail = models.JSONField(default=dict)
    status_before = models.CharField(max_length=12)
    status_after = models.CharField(max_length=12)
    version_after = models.PositiveIntegerField()
    at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-at", "-id"]
        indexes: ClassVar = [models.Index(fields=["-at", "-id"], name="operation_newest")]

    def __str__(self) -> str:
        return f"{self.name} by {self.actor}"


# --- periodic work ------------------------------------------------------------------------------


class PeriodicJob(models.Model):
    """The last run of a periodic job. The row decides who runs it next; `periodic` is its only writer.

    While it runs, and when it died, ``last_ended_at`` is null. ``last_result`` is that of the last run
    that ended well; ``last_error`` is empty then.
    """

    name = models.CharField(max_length=200, primary_key=True)
    last_started_at = models.DateTimeField()
    last_ended_at = models.DateTimeField(null=True)
    last_result = models.JSONField(null=True)
    last_error = models.TextField(blank=True)

    class Meta:
        verbose_name = "periodic job"
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


# --- parts with rooms of their own: Django looks for models here ----------------------------------

import sagas.choreography.models  # noqa: E402
import sagas.monitoring.models  # noqa: E402
import sagas.operator_models  # noqa: E402, F401
