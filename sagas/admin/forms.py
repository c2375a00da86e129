"""What a person says when they act on a saga. The hidden fields tie it to the page that was shown."""

import dataclasses
import json
from typing import Any, get_type_hints
from uuid import uuid4

from django import forms
from django.forms.fields import InvalidJSONInput

from sagas.admin.page import SagaPage
from sagas.codec import receipt_type
from sagas.selectors import plan_of

MAX_REASON = 1_000


class _Indented(json.JSONEncoder):
    """JSON over several lines, to be filled in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "indent": 2})


class _Json(forms.JSONField):
    """JSON as a person types it; what no parser follows is refused as any other typing error."""

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except RecursionError as error:
            raise forms.ValidationError("It is nested too deep.") from error

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except RecursionError:
            return InvalidJSONInput(data)


class OperationForm(forms.Form):
    """``operation`` is the id that makes a double click one operation; ``version`` is what the page showed."""

    reason = forms.CharField(
        max_length=MAX_REASON,
        widget=forms.Textarea({"rows": 3, "required": True}),
        label="Why",
        help_text="Kept with the saga, with your name. What did you see, and what makes this right?",
    )
    version = forms.IntegerField(min_value=1, widget=forms.HiddenInput)
    seen = forms.IntegerField(min_value=0, widget=forms.HiddenInput)
    operation = forms.UUIDField(widget=forms.HiddenInput)


class StepForm(OperationForm):
    """Also: the step that it is about."""

    step = forms.CharField(max_length=100, widget=forms.HiddenInput)


class LockForm(OperationForm):
    """Also: the lock that it is about, in words."""

    lock = forms.CharField(max_length=301, widget=forms.HiddenInput)


class RescheduleForm(StepForm):
    """Also: when the wait is over, or that it has no limit."""

    at = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput({"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S"),
        input_formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"],
        label="The wait ends at (UTC)",
        help_text="In the past: it is over now. Empty: it has no limit any more.",
    )
    field_order = ["at", "reason"]


class EditForm(OperationForm):
    """Also: the data of the saga as it should be."""

    payload = _Json(
        encoder=_Indented,
        widget=forms.Textarea({"rows": 10, "spellcheck": "false", "class": "saga-code"}),
        label="Data",
        help_text="As JSON, in the shape that the plan knows. What the saga locks has to stay.",
    )
    field_order = ["payload", "reason"]

    def clean_payload(self) -> Any:
        return _without_nul(self.cleaned_data["payload"])


class ReceiptForm(StepForm):
    """Also: the receipt of the step, where it has one."""

    receipt = _Json(
        required=False,
        encoder=_Indented,
        widget=forms.Textarea({"rows": 6, "spellcheck": "false", "class": "saga-code"}),
        label="Receipt",
        help_text="What the step would have returned, as JSON. Its compensation and the later steps work with it.",
    )
    field_order = ["receipt", "reason"]

    def __init__(self, *args: Any, expected: "tuple[ReceiptField, ...]" = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not expected:
            del self.fields["receipt"]

    def clean_receipt(self) -> Any:
        return _without_nul(self.cleaned_data["receipt"])


class ResolveForm(ReceiptForm):
    """Also: what became of the step; the receipt counts when it happened."""

    happened = forms.TypedChoiceField(
        choices=[("yes", "It happened"), ("no", "It did not happen, and can no longer happen")],
        coerce=lambda value: value == "yes",
        widget=forms.RadioSelect,
        label="What became of it",
    )
    field_order = ["happened", "receipt", "reason"]


def _without_nul(value: Any) -> Any:
    if "\\u0000" in json.dumps(value):
        raise forms.ValidationError("Text with a NUL character cannot be stored.")
    return value


@dataclasses.dataclass(frozen=True, slots=True)
class ReceiptField:
    """A field that a receipt has, for the person who writes one."""

    name: str
    kind: str


def initial_for(page: SagaPage) -> dict[str, Any]:
    """The hidden fields of a fresh page."""
    return {"version": page.saga.version, "seen": page.last_event, "operation": uuid4()}


def receipt_fields(page: SagaPage, step: str) -> tuple[ReceiptField, ...]:
    """The fields of a step's receipt; none where the step returns nothing."""
    plan = plan_of(page.saga)
    if plan is None or step not in [planned.name for planned in plan.steps]:
        return ()
    kind = receipt_type(plan.step(step))
    if kind is type(None):
        return ()
    if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
        return (ReceiptField("", _name(kind)),)
    hints = get_type_hints(kind)
    return tuple(ReceiptField(field.name, _name(hints[field.name])) for field in dataclasses.fields(kind))


def skeleton(fields: tuple[ReceiptField, ...]) -> dict[str, None] | None:
    """A receipt to be filled in: no field passes before it was."""
    return {field.name: None for field in fields if field.name} or None


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


def form_for(name: str, page: SagaPage, target: str, data: Any = None) -> OperationForm:
    """The form of an operation on a step, a lock or nothing but the saga; with what was typed, if anything was."""
    initial = initial_for(page)
    if name in ("resolve", "skip"):
        expected = receipt_fields(page, target)
        kind = ResolveForm if name == "resolve" else ReceiptForm
        return kind(data, initial={**initial, "step": target, "receipt": skeleton(expected)}, expected=expected)
    if name == "reschedule":
        due_at = page.saga.steps.filter(name=target).values_list("due_at", flat=True).first()
        return RescheduleForm(data, initial={**initial, "step": target, "at": due_at})
    if name == "release":
        return LockForm(data, initial={**initial, "lock": target})
    if name == "edit":
        return EditForm(data, initial={**initial, "payload": page.saga.data})
    if name in ("waive", "confirm"):
        return StepForm(data, initial={**initial, "step": target})
    return OperationForm(data, initial=initial)
