"""What people may do to a saga. Shared by admin, API and commands: check, do, write down, follow.

Every operation needs its permission, a reason, the version that the page showed and an id made by
that page; it is one commit with its row in `Operation` and its events (`operating`). `follow` then
reports what really came of it.
"""

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from sagas import interventions, locks, machine, proposals
from sagas.codec import NestedTooDeep, from_json, receipt_type, to_json
from sagas.following import follow
from sagas.models import Operation
from sagas.operating import PERMISSIONS, AnotherPerson, Effect, Request, operate, plan_of, require, step_of
from sagas.plan import Plan, PlannedStep
from sagas.store import LoadedSaga

__all__ = [
    "PERMISSIONS",
    "Request",
    "abandon",
    "compensate",
    "confirm",
    "edit",
    "follow",
    "pause",
    "release",
    "require",
    "reschedule",
    "resolve",
    "resume",
    "retry",
    "review",
    "skip",
    "waive",
]


def retry(saga_id: UUID, request: Request) -> Operation:
    """Try again now what failed or pauses. Raises as `operating.operate` does."""
    return operate(
        "retry", saga_id, request, lambda saga: Effect(interventions.retry(plan_of(saga), saga.state, saga.now))
    )


def compensate(saga_id: UUID, request: Request) -> Operation:
    """Turn the saga back and undo what it did. Refused past the pivot."""

    def turn(saga: LoadedSaga) -> Effect:
        message = f"an operator turned it back: {request.reason}"
        return Effect(machine.turn_back(plan_of(saga), saga.state, "operator", message, saga.now))

    return operate("compensate", saga_id, request, turn)


def edit(saga_id: UUID, request: Request, *, payload: Any) -> Operation:
    """Give a saga other data, and try again what failed, with new idempotency keys; ``payload`` is its JSON.

    Never while an outcome is unknown: a new key could do twice what happened. What the saga locks stays.
    """

    def put_right(saga: LoadedSaga) -> Effect:
        plan = plan_of(saga)
        after = interventions.edit(plan, saga.state, saga.now)
        value, kept = _valid_data(plan, payload), _as_read(saga)
        changed = [
            {"field": name, "from": kept.get(name), "to": value.get(name)}
            for name in sorted(kept.keys() | value.keys())
            if kept.get(name) != value.get(name)
        ]
        if not changed:
            raise machine.NotAllowed("Nothing of the data is different; retry the saga instead.")
        for lock in _no_longer_locked(plan, saga, from_json(plan.data_type, value)):
            raise machine.NotAllowed(f"The saga holds {lock}; keep that.")
        return Effect(after, {"changed": changed}, data=value)

    return operate("edit", saga_id, request, put_right)


def resolve(saga_id: UUID, request: Request, *, step: str, happened: bool, receipt: Any = None) -> Operation:
    """Settle an unknown outcome by hand; ``receipt`` is the JSON of what the step would have returned.

    Above the amount of ``SAGAS_TWO_PEOPLE_ABOVE`` it is a proposal that somebody else has to confirm.
    """

    def settle(saga: LoadedSaga) -> Effect:
        planned = step_of(saga, step)
        value = _valid_receipt(planned, receipt) if happened else None
        after = interventions.resolve(
            plan_of(saga), saga.state, planned, happened=happened, receipt=value, now=saga.now
        )
        detail = {"happened": happened, "receipt": receipt}
        if not proposals.needs_two_people(saga.definition, saga.definition_version, saga.json_data):
            return Effect(after, detail, then=lambda: proposals.drop(saga.id, step))
        keep = partial(proposals.keep, saga, planned, request, happened=happened, receipt=receipt)
        return Effect(saga.state, {**detail, "proposed": True}, then=keep)

    return operate("resolve", saga_id, request, settle, target=step)


def confirm(saga_id: UUID, request: Request, *, step: str) -> Operation:
    """Settle an unknown outcome as somebody else proposed."""

    def settle(saga: LoadedSaga) -> Effect:
        planned = step_of(saga, step)
        proposal = proposals.of_step(saga.id, step)
        if proposal is None:
            raise machine.NotAllowed(f"Nobody has proposed what became of {step}.")
        if proposal.actor_id == request.actor.pk:
            raise AnotherPerson(f"You proposed what became of {step}; somebody else has to confirm it.")
        if proposals.is_outdated(proposal, planned):
            raise machine.NotAllowed(f"{step} was tried again since it was proposed; find out and propose anew.")
        value = _valid_receipt(planned, proposal.receipt) if proposal.happened else None
        after = interventions.resolve(
            plan_of(saga), saga.state, planned, happened=proposal.happened, receipt=value, now=saga.now
        )
        said = {
            "happened": proposal.happened,
            "receipt": proposal.receipt,
            "proposed_by": proposal.actor.get_username(),
        }
        return Effect(after, said, then=lambda: proposals.drop(saga.id, step))

    return operate("confirm", saga_id, request, settle, target=step)


def pause(saga_id: UUID, request: Request) -> Operation:
    """Let nothing new start until somebody resumes it."""
    return operate(
        "pause", saga_id, request, lambda saga: Effect(interventions.pause(plan_of(saga), saga.state, saga.now))
    )


def resume(saga_id: UUID, request: Request) -> Operation:
    """Go on after a pause, or after a deploy that knows the saga's plan."""
    return operate(
        "resume", saga_id, request, lambda saga: Effect(interventions.resume(plan_of(saga), saga.state, saga.now))
    )


def reschedule(saga_id: UUID, request: Request, *, step: str, at: datetime | None) -> Operation:
    """Move the time limit of a step that waits for a signal, a person or a time; None takes the limit away.

    Moved to now, or to the past, it is over at once.
    """

    def move(saga: LoadedSaga) -> Effect:
        planned = step_of(saga, step)
        before = saga.state.steps[planned.position].due_at
        after = interventions.reschedule(plan_of(saga), saga.state, planned, at=at, now=saga.now)
        return Effect(after, {"from": before and before.isoformat(), "to": at and at.isoformat()})

    return operate("reschedule", saga_id, request, move, target=step)


def skip(saga_id: UUID, request: Request, *, step: str, receipt: Any = None) -> Operation:
    """Go past a step that the plan lets people skip; ``receipt`` is the JSON that later steps get for it."""

    def go_past(saga: LoadedSaga) -> Effect:
        planned = step_of(saga, step)
        reason = interventions.why_not_skip(plan_of(saga), saga.state, planned)
        if reason:
            raise machine.NotAllowed(reason)
        value = _valid_receipt(planned, receipt)
        after = interventions.skip(plan_of(saga), saga.state, planned, receipt=value, now=saga.now)
        return Effect(after, {"receipt": receipt})

    return operate("skip", saga_id, request, go_past, target=step)


def waive(saga_id: UUID, request: Request, *, step: str) -> Operation:
    """Accept the effect of a step whose compensation failed, and go on with the way back."""

    def accept(saga: LoadedSaga) -> Effect:
        planned = step_of(saga, step)
        after = interventions.waive(plan_of(saga), saga.state, planned, now=saga.now)
        return Effect(after, {"left_behind": [step], "receipt": saga.state.steps[planned.position].receipt})

    return operate("waive", saga_id, request, accept, target=step)


def release(saga_id: UUID, request: Request, *, lock: str) -> Operation:
    """Take a lock from a saga that does not move; the next in line gets it in the same commit.

    What the saga began is fenced off, and before it does anything else it waits for that lock again.
    """

    def take_away(saga: LoadedSaga) -> Effect:
        if lock not in locks.held_by(saga.id):
            raise machine.NotAllowed(f"This saga does not hold {lock}.")
        return Effect(interventions.release(plan_of(saga), saga.state, lock, saga.now), {"lock": lock}, lock)

    return operate("release", saga_id, request, take_away, target=lock)


def abandon(saga_id: UUID, request: Request) -> Operation:
    """Close a saga for ever, with what it leaves behind; its locks go to the next in line.

    What it leaves is listed, and raises attention until somebody reviews it.
    """

    def close(saga: LoadedSaga) -> Effect:
        after = interventions.abandon(plan_of(saga), saga.state, saga.now)
        left = interventions.left_behind(plan_of(saga), after)
        return Effect(after, {"left_behind": left, "locks": locks.held_by(saga.id)})

    return operate("abandon", saga_id, request, close)


def review(saga_id: UUID, request: Request) -> Operation:
    """Say that what an ended saga raised attention for is looked after."""

    def look_after(saga: LoadedSaga) -> Effect:
        return Effect(interventions.review(saga.state), {"attention": saga.state.attention})

    return operate("review", saga_id, request, look_after)


def _as_read(saga: LoadedSaga) -> Any:
    """The JSON of its data with what the plan adds; as it is stored where the plan has changed and cannot read it."""
    try:
        return to_json(saga.data)
    except msgspec.ValidationError:
        return saga.json_data


def _no_longer_locked(plan: Plan, saga: LoadedSaga, new: Any) -> list[str]:
    """What the saga locks, and would not with other data; of data that nobody can read, what it holds."""
    try:
        old = saga.data
    except msgspec.ValidationError:
        named = [" ".join(resource) for resource in locks.resources(plan, new)]
        return [lock for lock in locks.held_by(saga.id) if lock not in named]
    return [
        f"{lock.resource_type} {lock.resource_id(old)}"
        for lock in plan.locks
        if lock.resource_id(new) != lock.resource_id(old)
    ]


def _valid_receipt(step: PlannedStep, receipt: Any) -> Any:
    try:
        return to_json(from_json(receipt_type(step), receipt))
    except (msgspec.ValidationError, NestedTooDeep) as error:
        raise machine.NotAllowed(f"This is not a receipt of {step.name}: {error}.") from error


def _valid_data(plan: Plan, payload: Any) -> Any:
    try:
        return to_json(msgspec.convert(payload, plan.data_type, strict=True))
    except (msgspec.ValidationError, NestedTooDeep) as error:
        raise machine.NotAllowed(f"This is not the data of {plan.name}: {error}.") from error
