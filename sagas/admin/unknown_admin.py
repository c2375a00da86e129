"""The queue of unknown outcomes: where nobody knows what became of a call, with what there is to decide by."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sagas import hooks
from sagas.admin.links import subject_url
from sagas.admin.readonly import ReadOnlyAdmin
from sagas.admin.words import moment
from sagas.attempts import key_of
from sagas.models import SagaEvent, SagaInstance, SagaStep
from sagas.operator_models import Proposal, UnknownOutcome
from sagas.redaction import redact
from sagas.states import ActionStatus, Side, SuspendReason


class ForWhom(admin.SimpleListFilter):
    title = "who is at it"
    parameter_name = "at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("person", "A person has to find out"), ("engine", "The engine still asks")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SagaInstance]) -> QuerySet[SagaInstance]:
        person = Q(suspend_reason=SuspendReason.OUTCOME_UNKNOWN)
        return queryset.filter(person if self.value() == "person" else ~person) if self.value() else queryset


@admin.register(UnknownOutcome)
class UnknownOutcomeAdmin(ReadOnlyAdmin):
    """The oldest first: they are the ones to look at. Only live sagas are in it, so it is short."""

    list_display = ["about", "step", "stake", "key", "since", "asked", "answer", "proposed", "way_out"]
    list_display_links = None
    list_filter = [ForWhom]
    list_per_page = 50
    ordering = ["id"]
    search_fields = ["business_key__exact"]
    search_help_text = "An order number."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Spelled as in the partial index `saga_unknown`.
        unknown = Q(suspend_reason=SuspendReason.OUTCOME_UNKNOWN) | Q(waiting_on__kind="outcome")
        proposals = Prefetch("proposals", Proposal.objects.select_related("actor"))
        steps = Prefetch("steps", SagaStep.objects.order_by("position"))
        became = SagaEvent.objects.filter(what="action", after=ActionStatus.UNKNOWN)
        became_unknown = Prefetch("events", became, to_attr="became_unknown")
        return UnknownOutcome.objects.filter(unknown).prefetch_related(steps, proposals, became_unknown)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With what is at stake in each, in a query or two for all that are listed."""
        changelist = super().get_changelist_instance(request)
        listed = list(changelist.result_list)
        for definition in {saga.definition for saga in listed}:
            same = [saga for saga in listed if saga.definition == definition]
            stakes = hooks.stakes_of(definition, [(saga.definition_version, saga.data) for saga in same])
            for saga, stake in zip(same, stakes, strict=True):
                saga.at_stake = stake
        changelist.result_list = listed
        return changelist

    @admin.display(description="about")
    def about(self, saga: SagaInstance) -> SafeString:
        of = subject_url(saga)
        subject = format_html(' <a href="{}">{}</a>', of, saga.business_key) if of else saga.business_key
        return format_html('<a href="{}">{}</a> {}', _url("change", saga), saga.definition, subject)

    @admin.display(description="step")
    def step(self, saga: SagaInstance) -> str:
        return _unknown_step(saga).name

    @admin.display(description="at stake")
    def stake(self, saga: Any) -> str:
        return saga.at_stake.words if saga.at_stake else ""

    @admin.display(description="idempotency key")
    def key(self, saga: SagaInstance) -> SafeString:
        key = key_of(saga.pk, saga.edits, _unknown_step(saga).name, Side.ACTION)
        return format_html('<code class="saga-why">{}</code>', key)

    @admin.display(description="since (UTC)")
    def since(self, saga: Any) -> SafeString | str:
        """When it became so last; that it is asked again and again changes nothing."""
        step = _unknown_step(saga)
        return moment(
            max((event.at for event in saga.became_unknown if event.step == step.name), default=saga.updated_at)
        )

    @admin.display(description="asked")
    def asked(self, saga: SagaInstance) -> str:
        count = _unknown_step(saga).action_attempts
        return "once" if count == 1 else f"{count} times"

    @admin.display(description="last answer")
    def answer(self, saga: SagaInstance) -> SafeString:
        return format_html('<span class="saga-why">{}</span>', redact(_unknown_step(saga).error))

    @admin.display(description="proposed")
    def proposed(self, saga: Any) -> str:
        return ", ".join(str(proposal) for proposal in saga.proposals.all())

    @admin.display(description="find out")
    def way_out(self, saga: Any) -> SafeString:
        name, words = ("confirm", "Confirm…") if saga.proposals.all() else ("resolve", "Resolve…")
        step = urlencode({"step": _unknown_step(saga).name})
        return format_html('<a href="{}?{}">{}</a>', _url(name, saga), step, words)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Its page is that of its saga."""
        return obj is None and request.user.has_perm("sagas.view_sagainstance")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


def _unknown_step(saga: SagaInstance) -> SagaStep:
    steps = list(saga.steps.all())
    return next((step for step in steps if step.action == ActionStatus.UNKNOWN), steps[-1])


def _url(name: str, saga: SagaInstance) -> str:
    return reverse(f"admin:sagas_sagainstance_{name}", args=[saga.pk])
