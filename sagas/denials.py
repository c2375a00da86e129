"""What was tried and denied, for who has to answer for it later."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models.functions import Now

from sagas.operator_models import DeniedOperation
from sagas.redaction import redact


def write_down(actor: User, name: str, why: str, *, saga_id: UUID | None = None, target: str = "") -> None:
    """Keep that somebody tried what they may not do. Called outside the transaction that was refused."""
    if actor.pk is None:
        return  # nobody is logged in: there is no one to name, and the web server's log has the address
    DeniedOperation.objects.create(
        saga_id=saga_id, name=name[:20], target=redact(target)[:301], actor_id=actor.pk, why=why[:300], at=Now()
    )


def forget_old() -> int:
    """Delete what was denied longer ago than sagas that people touched are kept."""
    kept = timedelta(days=settings.SAGAS_KEEP_TOUCHED_DAYS)
    return DeniedOperation.objects.filter(at__lt=Now() - kept).delete()[0]
