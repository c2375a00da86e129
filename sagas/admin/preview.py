"""What the page that asks shows of an operation before it is confirmed. Nothing of it stays."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from sagas import hooks, outlook, preview, proposals
from sagas.admin.words import pretty_json
from sagas.exceptions import OperationRefused
from sagas.models import SagaInstance


def foreseen(saga: SagaInstance, name: str, target: str, reader: AbstractBaseUser | AnonymousUser) -> dict[str, Any]:
    """The words of the template for what an operation would come to, as far as it can be foreseen."""
    if name == "compensate":
        return _way_back(saga, reader)
    if name in ("retry", "edit"):
        return {"outlook": _outlook(saga)}
    if name in ("resolve", "confirm") and target:
        return _evidence(saga, target)
    return {}


def _way_back(saga: SagaInstance, reader: AbstractBaseUser | AnonymousUser) -> dict[str, Any]:
    try:
        return {"way_back": preview.way_back(saga.pk, reader)}
    except OperationRefused as error:
        return {"no_preview": str(error)}


def _outlook(saga: SagaInstance) -> list[outlook.StepOutlook]:
    try:
        return outlook.outlook(saga.pk)
    except OperationRefused:
        return []  # the page says already that the code here has no plan for it


def _evidence(saga: SagaInstance, step: str) -> dict[str, Any]:
    """What there is to decide by: the attempts with their key, what came from outside, what somebody proposed."""
    of = saga.definition, saga.definition_version, saga.data
    proposal = proposals.of_step(saga.pk, step)
    return {
        "can_ask": step in {each.step for each in _outlook(saga) if each.can_ask},
        "attempts_of_step": list(saga.attempts.filter(step=step, side="action").order_by("-number")[:5]),
        "came_from_outside": hooks.evidence_of(*of)[:20],
        "stake": hooks.stake_of(*of),
        "two_people": proposals.needs_two_people(*of),
        "proposal": proposal,
        "proposed_receipt": pretty_json(proposal.receipt) if proposal and proposal.receipt is not None else "",
    }
