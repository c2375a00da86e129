"""The plan of a saga as a table: every step with both its statuses, those still to come included."""

from dataclasses import dataclass
from itertools import groupby

from django.utils.safestring import SafeString

from sagas.admin.words import badge, moment, pretty_json, span
from sagas.models import SagaInstance, SagaStep
from sagas.plan import Kind, Plan, PlannedStep
from sagas.redaction import redact
from sagas.selectors import current_step, plan_of
from sagas.states import ActionStatus, CompensationStatus, Side
from sagas.steps import NoCompensation, name_of


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step. ``current``: the saga is at it. Empty texts are not shown."""

    position: int
    name: str
    kind: str
    where: str
    action_status: str
    action: SafeString
    action_notes: list[str]
    action_attempts: int
    compensation_name: str
    compensation_status: str
    compensation: SafeString
    compensation_notes: list[str]
    compensation_attempts: int
    due: SafeString | str
    receipt: str
    error: str
    current: bool


@dataclass(frozen=True, slots=True)
class Place:
    """One place in the order of a plan: a step, or a group that runs in parallel."""

    steps: list[StepRow]
    pivot: bool

    @property
    def parallel(self) -> bool:
        return len(self.steps) > 1


def places_of(saga: SagaInstance) -> tuple[list[Place], bool]:
    """The places of a saga's plan; and whether this code knows the plan.

    Where it does not, or knows another one, only the steps that were touched are shown, as stored.
    """
    touched = {step.position: step for step in saga.steps.all()}
    plan, current = plan_of(saga), current_step(saga)
    if plan is None or not _fits(plan, touched):
        stored = [_row(saga, step.name, step.kind, step, None, current) for step in touched.values()]
        return [Place([row], row.kind == Kind.PIVOT) for row in stored], False
    places = []
    for _, members in groupby(plan.steps, key=lambda planned: planned.place):
        group = list(members)
        rows = [_row(saga, p.name, p.kind, touched.get(p.position) or _untouched(p), p, current) for p in group]
        places.append(Place(rows, group[0].pivot))
    return places, True


def left_behind(saga: SagaInstance) -> list[str]:
    """The steps whose effect is there, or may be, and is not undone: what abandoning the saga now would leave."""
    plan, touched = plan_of(saga), {step.position: step for step in saga.steps.all()}
    happened = (ActionStatus.SUCCEEDED, ActionStatus.UNKNOWN, ActionStatus.RUNNING)
    return [
        planned.name
        for planned in (plan.steps if plan else ())
        if (step := touched.get(planned.position) or _untouched(planned)).action in happened
        and not planned.spec.reads_only
        and step.compensation != CompensationStatus.SUCCEEDED
    ]


def _fits(plan: Plan, touched: dict[int, SagaStep]) -> bool:
    names = {planned.position: planned.name for planned in plan.steps}
    return all(names.get(position) == step.name for position, step in touched.items())


def _untouched(planned: PlannedStep) -> SagaStep:
    """A step without a row: still to come, or the start of the saga itself."""
    action = ActionStatus.SUCCEEDED if planned.begins else ActionStatus.PENDING
    return SagaStep(position=planned.position, action=action, compensation=CompensationStatus.NOT_NEEDED)


def _row(
    saga: SagaInstance, name: str, kind: str, step: SagaStep, planned: PlannedStep | None, current: str
) -> StepRow:
    spec = planned.spec if planned else None
    return StepRow(
        position=step.position,
        name=name,
        kind=kind.lower(),
        where=_where(planned),
        action_status=step.action,
        action=badge(step.action),
        action_notes=_action_notes(saga, step, planned),
        action_attempts=step.action_attempts,
        compensation_name=name_of(spec.compensation) if spec and spec.compensation else "",
        compensation_status=step.compensation,
        compensation=badge(step.compensation, compensation=True),
        compensation_notes=_compensation_notes(step, planned),
        compensation_attempts=step.compensation_attempts,
        due=moment(step.due_at),
        receipt=pretty_json(step.receipt) if step.receipt is not None else "",
        error=redact(step.error),
        current=name == current,
    )


def _where(planned: PlannedStep | None) -> str:
    if planned is None:
        return ""
    if planned.begins:
        return "the commit that started the saga"
    if planned.is_remote(Side.ACTION):
        return f"remote, at most {span(planned.spec.timeout)} a call"
    return "local, one commit"


def _action_notes(saga: SagaInstance, step: SagaStep, planned: PlannedStep | None) -> list[str]:
    notes = [_count(step.action_attempts)] if step.action_attempts else []
    if step.action == ActionStatus.PENDING and (saga.backward or saga.ended_at is not None):
        notes.append("never ran" if not step.action_attempts else "will not run")
    elif step.action == ActionStatus.PENDING and not step.action_attempts:
        notes.append("still to come")
    if step.action == ActionStatus.UNKNOWN:
        notes.append("nobody knows whether it happened")
    if planned and step.failures and step.compensation == CompensationStatus.NOT_NEEDED:
        notes.append(_budget(step, planned))
    return notes


def _budget(step: SagaStep, planned: PlannedStep) -> str:
    """The retry budget counts failures since the last success or operator; past the pivot there is no limit."""
    if planned.kind is Kind.COMPENSATABLE:
        return f"{step.failures} of {planned.spec.retry.attempts} tries used"
    return f"{step.failures} in a row failed, tries on without end"


def _compensation_notes(step: SagaStep, planned: PlannedStep | None) -> list[str]:
    notes = [_count(step.compensation_attempts)] if step.compensation_attempts else []
    if planned is None or planned.spec.compensation is not None:
        return notes
    if planned.kind is not Kind.COMPENSATABLE:
        return [*notes, "never undone"]
    if planned.spec.reads_only:
        return [*notes, "reads only, nothing to undo"]
    accepted = planned.spec.no_compensation is NoCompensation.ACCEPT
    return [*notes, "its effect stays, as the plan accepts" if accepted else "cannot be undone: a person has to"]


def _count(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"
