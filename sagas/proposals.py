"""Two people for what is worth much: the first proposes what became of an unknown outcome, another confirms it.

All of it happens under the lock on the saga's row, in the commit of the operation.
"""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings

from sagas.hooks import is_unreadable, stake_of
from sagas.models import StepAttempt
from sagas.operator_models import Proposal
from sagas.outcomes import OutcomeKind
from sagas.plan import PlannedStep
from sagas.states import Side
from sagas.store import LoadedSaga

if TYPE_CHECKING:
    from sagas.operating import Request


def needs_two_people(definition: str, version: int, data: Any) -> bool:
    """Whether more is at stake in a saga than one person may decide, or may be, since nobody can read its data.

    Nothing is at stake where nobody says what.
    """
    stake = stake_of(definition, version, data)
    if stake is None:
        return is_unreadable(definition, version, data)
    return bool(stake.amount > settings.SAGAS_TWO_PEOPLE_ABOVE)


def of_saga(saga_id: UUID) -> list[Proposal]:
    return list(Proposal.objects.filter(saga_id=saga_id).select_related("actor").order_by("step"))


def of_step(saga_id: UUID, step: str) -> Proposal | None:
    return Proposal.objects.filter(saga_id=saga_id, step=step).select_related("actor").first()


def is_outdated(proposal: Proposal, step: PlannedStep) -> bool:
    """Whether the step was tried since in a way that may have had an effect.

    An attempt that certainly had none, such as one that never reached the other side, leaves true what was proposed.
    """
    since = StepAttempt.objects.filter(
        saga_id=proposal.saga_id, position=step.position, side=Side.ACTION, number__gt=proposal.attempts
    )
    return since.exclude(outcome=OutcomeKind.TRANSIENT).exists()


def keep(saga: LoadedSaga, step: PlannedStep, request: "Request", *, happened: bool, receipt: Any) -> None:
    """The latest proposal counts, whoever made the one before."""
    Proposal.objects.update_or_create(
        saga_id=saga.id,
        step=step.name,
        defaults={
            "attempts": saga.state.steps[step.position].action_attempts,
            "happened": happened,
            "receipt": receipt if happened else None,
            "actor": request.actor,
            "reason": request.reason,
            "at": saga.now,
        },
    )


def drop(saga_id: UUID, step: str) -> None:
    Proposal.objects.filter(saga_id=saga_id, step=step).delete()
