"""The shapes of the staff API. A step has two statuses, its action's and its compensation's."""

from typing import Any

from rest_framework import serializers

from sagas.models import Operation, SagaEvent, SagaInstance, SemanticLock, StepAttempt
from sagas.redaction import redact, redact_values
from sagas.selectors import waiting_words
from sagas.states import ActionStatus, CompensationStatus, SagaStatus

STATUSES = [(status.value, status.capitalize()) for status in SagaStatus]


class SagaFilter(serializers.Serializer[Any]):
    """What a list of sagas can be asked for."""

    status = serializers.ChoiceField(choices=STATUSES, required=False)
    definition = serializers.RegexField(
        r"^[\w.-]{1,100}$", required=False, help_text="The name of a plan: `shop.checkout`."
    )
    key = serializers.RegexField(
        r"^[\x20-\x7e]{1,200}$", required=False, help_text="The business key, exactly: an order number, ..."
    )


class SagaSerializer(serializers.ModelSerializer[SagaInstance]):
    key = serializers.CharField(source="business_key")
    waiting_on = serializers.SerializerMethodField(help_text="Why it does not move, or what it does, in one sentence.")
    attention = serializers.SerializerMethodField(help_text="What a person has to look at; empty if nothing.")
    failure = serializers.JSONField(allow_null=True, help_text="The first failure: step, code, message.")

    class Meta:
        model = SagaInstance
        fields: tuple[str, ...] = (
            "id",
            "definition",
            "definition_version",
            "key",
            "status",
            "suspend_reason",
            "waiting_on",
            "attention",
            "backward",
            "pivot_passed",
            "failure",
            "version",
            "deadline_at",
            "wake_at",
            "created_at",
            "updated_at",
            "ended_at",
        )

    def get_waiting_on(self, saga: SagaInstance) -> str:
        return redact(waiting_words(saga))

    def get_attention(self, saga: SagaInstance) -> str:
        return redact(saga.attention)


class StepSerializer(serializers.Serializer[Any]):
    position = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.CharField(help_text="COMPENSATABLE, PIVOT or RETRIABLE.")
    action = serializers.ChoiceField(choices=[status.value for status in ActionStatus])
    compensation = serializers.ChoiceField(choices=[status.value for status in CompensationStatus])
    action_attempts = serializers.IntegerField()
    compensation_attempts = serializers.IntegerField()
    due_at = serializers.DateTimeField(allow_null=True)
    error = serializers.CharField(allow_blank=True, help_text="The last one, redacted.")


class AttemptSerializer(serializers.ModelSerializer[StepAttempt]):
    class Meta:
        model = StepAttempt
        fields = (
            "step",
            "side",
            "number",
            "worker",
            "idempotency_key",
            "started_at",
            "ended_at",
            "outcome",
            "error_class",
            "fingerprint",
            "message",
        )


class EventSerializer(serializers.ModelSerializer[SagaEvent]):
    class Meta:
        model = SagaEvent
        fields = ("at", "what", "step", "before", "after", "actor", "why")


class LockSerializer(serializers.ModelSerializer[SemanticLock]):
    class Meta:
        model = SemanticLock
        fields = ("resource_type", "resource_id", "taken_at")


class _Redacted(serializers.JSONField):
    """JSON with secrets blotted out, for every program: API, commands and the export of a saga's page."""

    def to_representation(self, value: Any) -> Any:
        return redact_values(super().to_representation(value))


class OperationSerializer(serializers.ModelSerializer[Operation]):
    actor = serializers.CharField(source="actor.username")
    detail = _Redacted(help_text="What it was about: a receipt, what was different, ...; redacted.")

    class Meta:
        model = Operation
        fields = (
            "id",
            "name",
            "step",
            "actor",
            "reason",
            "detail",
            "status_before",
            "status_after",
            "version_after",
            "at",
        )


class OptionSerializer(serializers.Serializer[Any]):
    """An operation; ``why_not`` is empty where you may do it now."""

    name = serializers.CharField()
    why_not = serializers.CharField(allow_blank=True)
    targets = serializers.ListField(
        child=serializers.CharField(), help_text="What it could be about, where that is a choice: steps, or locks."
    )


class SagaParts(serializers.Serializer[Any]):
    steps = StepSerializer(many=True, help_text="All of the plan; those still to come are PENDING.")
    attempts = AttemptSerializer(many=True, help_text="The last 100, oldest first.")
    events = EventSerializer(many=True, help_text="The last 200, oldest first.")
    locks = LockSerializer(many=True, help_text="What this saga holds.")
    operations = OperationSerializer(many=True, help_text="What people did, newest first.")
    options = OptionSerializer(many=True, help_text="What you may do now.")


class SagaDetailSerializer(SagaParts, SagaSerializer):
    """A saga with its parts: the shape of `documents.saga_document`."""

    class Meta(SagaSerializer.Meta):
        fields = (*SagaSerializer.Meta.fields, "steps", "attempts", "events", "locks", "operations", "options")


class _WholeNumber(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class _TrueOrFalse(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class OperationRequest(serializers.Serializer[Any]):
    """Why, and on the ground of which version."""

    reason = serializers.CharField(max_length=1_000, help_text="Kept with the saga.")
    version = _WholeNumber(min_value=1, max_value=2**31 - 1, help_text="The saga's version that you looked at.")
    action_id = serializers.UUIDField(required=False, help_text="Of your own making: sent twice, it is done once.")
    wait_seconds = _WholeNumber(
        min_value=0, max_value=10, default=8, help_text="How long to wait for what comes of it; 0: do not wait."
    )


class ResolveRequest(OperationRequest):
    """The outcome of a step that nobody knew, found out by a person."""

    step = serializers.CharField(max_length=100)
    happened = _TrueOrFalse()
    receipt = serializers.JSONField(
        required=False, allow_null=True, help_text="What the step would have returned; only where it happened."
    )


class StepRequest(OperationRequest):
    """Which step it is about."""

    step = serializers.CharField(max_length=100)


class SkipRequest(StepRequest):
    """A step to go past, and what later steps get for it."""

    receipt = serializers.JSONField(
        required=False, allow_null=True, help_text="What the step would have returned; null where it returns nothing."
    )


class RescheduleRequest(StepRequest):
    """When a step no longer waits."""

    at = serializers.DateTimeField(
        allow_null=True, help_text="Now or earlier: the wait is over. null: there is no limit any more."
    )


class EditRequest(OperationRequest):
    """The data of the saga as it should be."""

    payload = serializers.JSONField(help_text="All of it, in the shape that the plan knows.")


class ReleaseRequest(OperationRequest):
    """Which lock is taken away."""

    lock = serializers.CharField(max_length=301, help_text="In words, as in `options`: `shop.order 7F3K2M9X`.")


class OperationAnswer(serializers.Serializer[Any]):
    """The operation as it was written down, what came of it, and the saga after it."""

    operation = OperationSerializer()
    outcome = serializers.CharField(help_text="In a sentence: the next outcome, not that something was requested.")
    saga = SagaSerializer()


class PreviewRequest(serializers.Serializer[Any]):
    """What a preview is asked for."""

    operation = serializers.ChoiceField(choices=["compensate", "retry"])
    ask = serializers.RegexField(
        r"^\w{1,100}$", required=False, help_text="A step: ask the other side what became of its key; with `retry`."
    )


class PreviewAnswer(serializers.Serializer[Any]):
    """What an operation would come to; what does not belong to it is null."""

    way_back = serializers.JSONField(
        allow_null=True, help_text="Of `compensate`: each compensation, the rows it changes, the call it makes."
    )
    outlook = serializers.JSONField(
        allow_null=True, help_text="Of `retry`: what would be tried again, and what keeps it from being tried now."
    )
    answer = serializers.JSONField(allow_null=True, help_text="What the other side says of the key.")
