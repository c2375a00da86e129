"""What the operator's pages read besides `sagas.selectors`."""

from uuid import UUID

from sagas.models import SagaEvent, SagaInstance
from sagas.selectors import with_steps
from sagas.states import SagaStatus


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
    live = SagaInstance.objects.filter(pk=saga_id, version=version, ended_at=None)
    return live.exclude(status=SagaStatus.SUSPENDED).exists()
