"""What a person may do to a saga now, and why not the rest: what pages and the API offer. Reads only."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from sagas import interventions, locks, machine, proposals, store
from sagas.exceptions import UnknownSaga
from sagas.operations import PERMISSIONS
from sagas.plan import Plan
from sagas.snapshot import SagaState
from sagas.store import LoadedSaga


@dataclass(frozen=True, slots=True)
class Option:
    """An operation and, where it is not open to this person now, the reason.

    ``targets``: what it could be about, where that is a choice: steps by name, locks in words.
    """

    name: str
    why_not: str
    targets: tuple[str, ...] = ()


def options(saga_id: UUID, actor: AbstractBaseUser | AnonymousUser) -> list[Option]:
    """Every operation, with the reason where it is not open to this person now."""
    saga = store.read(saga_id)
    if saga is None:
        raise UnknownSaga(str(saga_id))
    found = (
        _without_plan(saga.state) if saga.plan is None else _of(saga.plan, saga.state, tuple(locks.held_by(saga.id)))
    )
    found.append(_confirm(saga, actor))
    by_name = {option.name: option for option in found}
    return [
        by_name[name]
        if actor.has_perm(permission)  # type: ignore[union-attr]
        else Option(name, f"You may not {name} sagas.", by_name[name].targets)
        for name, permission in PERMISSIONS.items()
    ]


def _of(plan: Plan, saga: SagaState, held: tuple[str, ...]) -> list[Option]:
    turn_back = machine.why_not_turn_back(plan, saga)
    steps = {
        "resolve": [s.name for s in plan.steps if not interventions.why_not_resolve(saga, s)],
        "reschedule": [s.name for s in plan.steps if not interventions.why_not_reschedule(saga, s)],
        "skip": [s.name for s in plan.steps if not interventions.why_not_skip(plan, saga, s)],
        "waive": [s.name for s in plan.steps if not interventions.why_not_waive(saga, s)],
    }
    none = {
        "resolve": "No outcome of this saga is unknown.",
        "reschedule": "No step of this saga waits for a signal, a person or a time.",
        "skip": "No step of this saga can be skipped now: its plan has to allow it, and the saga to stand still at it.",
        "waive": "No compensation of this saga has failed.",
    }
    return [
        Option("retry", interventions.why_not_retry(saga)),
        Option("edit", interventions.why_not_edit(saga)),
        Option("compensate", f"The saga cannot be turned back: {turn_back}." if turn_back else ""),
        *(Option(name, "" if found else none[name], tuple(found)) for name, found in steps.items()),
        Option("pause", interventions.why_not_pause(saga)),
        Option("resume", interventions.why_not_resume(saga)),
        Option("release", interventions.why_not_release(saga) or ("" if held else "This saga holds no lock."), held),
        Option("abandon", interventions.why_not_abandon(saga)),
        Option("review", interventions.why_not_review(saga)),
    ]


def _confirm(saga: LoadedSaga, actor: AbstractBaseUser | AnonymousUser) -> Option:
    """What somebody else proposed can be confirmed while it is unknown."""
    open_steps = (
        {s.name for s in saga.plan.steps if not interventions.why_not_resolve(saga.state, s)} if saga.plan else ()
    )
    proposed = [proposal for proposal in proposals.of_saga(saga.id) if proposal.step in open_steps]
    by_others = tuple(proposal.step for proposal in proposed if proposal.actor_id != actor.pk)
    own = "You proposed it yourself; somebody else has to confirm it."
    nothing = "Nobody has proposed what became of a step."
    return Option("confirm", "" if by_others else own if proposed else nothing, by_others)


def _without_plan(saga: SagaState) -> list[Option]:
    """Only an ended saga can be looked after without its plan."""
    review = interventions.why_not_review(saga)
    unknown = "The code that is running has no plan that continues this saga."
    return [Option(name, review if name == "review" else unknown) for name in PERMISSIONS if name != "confirm"]
