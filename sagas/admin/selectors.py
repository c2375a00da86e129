"""What the operator's pages read besides `sagas.selectors`."""

from uuid import UUID

from django.db.models import Q

from sagas.admin.paging import BoundedPaginator
from sagas.models import LockWaiter, SagaEvent, SagaInstance, SemanticLock, StepAttempt
from sagas.selectors import LockHolder, lock_holder, with_steps

MOST_IN_LINE = 20


def saga_for_page(saga_id: UUID) -> SagaInstance | None:
    """One saga with its steps, in two queries."""
    return with_steps().select_related("caused_by").filter(pk=saga_id).first()


def events_since(saga_id: UUID, event_id: int) -> list[SagaEvent]:
    """What changed after an event, oldest first; at most 50."""
    return list(SagaEvent.objects.filter(saga_id=saga_id, id__gt=event_id).order_by("id")[:50])


def is_at_version(saga_id: UUID, version: str) -> bool:
    """Whether a live saga is still at the version that a page shows. One look at its primary key."""
    if not version.isdecimal() or len(version) > 9:
        return False
    return SagaInstance.objects.filter(pk=saga_id, version=version, ended_at=None).exists()


def in_line_for(saga: SagaInstance) -> list[tuple[SemanticLock, list[SagaInstance]]]:
    """The locks of a saga, each with the first who wait for it. Two queries at most."""
    locks = list(saga.locks.order_by("resource_type", "resource_id"))
    wanted = [lock for lock in locks if lock.wanted]
    if not wanted:
        return [(lock, []) for lock in locks]
    asked = Q()
    for lock in wanted:
        asked |= Q(resource_type=lock.resource_type, resource_id=lock.resource_id)
    line = list(LockWaiter.objects.filter(asked).select_related("saga").order_by("id")[:MOST_IN_LINE])
    return [
        (
            lock,
            [w.saga for w in line if (w.resource_type, w.resource_id) == (lock.resource_type, lock.resource_id)],
        )
        for lock in locks
    ]


def ahead_in_line(saga: SagaInstance) -> LockHolder | None:
    """Who holds what a saga waits in line for. No query unless it waits for a lock."""
    if not saga.waiting_on or saga.waiting_on["kind"] != "lock":
        return None
    waiter = saga.waits_in_line.order_by("id").first()
    return lock_holder(waiter.resource_type, waiter.resource_id) if waiter else None


def sagas_that_failed_with(fingerprint: str) -> set[UUID]:
    """The sagas of the newest attempts that failed in this way: of many, as many as a list counts."""
    if not fingerprint.isalnum():
        return set()
    failed = StepAttempt.objects.filter(fingerprint=fingerprint).exclude(fingerprint="").order_by("-id")
    return set(failed.values_list("saga_id", flat=True)[: BoundedPaginator.bound + 1])
