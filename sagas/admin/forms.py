"""What a person says when they act on a saga. The hidden fields tie it to the page that was shown."""

import dataclasses
import json
from typing import Any, get_type_hints
from uuid import uuid4

from django import forms

from sagas.admin.page import SagaPage
from sagas.codec import receipt_type
from sagas.selectors import plan_of

MAX_REASON = 1_000


class _Indented(json.JSONEncoder):
    """JSON over several lines, to be filled in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "indent": 2})


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


class ResolveForm(OperationForm):
    """Also: what became of the step, and its receipt when it happened."""

    step = forms.CharField(max_length=100, widget=forms.HiddenInput)
    happened = forms.TypedChoiceField(
        choices=[("yes", "It happened"), ("no", "It did not happen, and can no longer happen")],
        coerce=lambda value: value == "yes",
        widget=forms.RadioSelect,
        label="What became of it",
    )
    receipt = forms.JSONField(
        required=False,
        encoder=_Indented,
        widget=forms.Textarea({"rows": 6, "spellcheck": "false", "class": "saga-code"}),
        label="Receipt, when it happened",
        help_text="What the step would have returned, as JSON. Its compensation and the later steps work with it.",
    )
    field_order = ["happened", "receipt", "reason"]

    def __init__(self, *args: Any, expected: "tuple[ReceiptField, ...]" = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not expected:
            del self.fields["receipt"]

    def clean_receipt(self) -> Any:
        receipt = self.cleaned_data["receipt"]
        if "\\u0000" in json.dumps(receipt):
            raise forms.ValidationError("Text with a NUL character cannot be stored.")
        return receipt


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
