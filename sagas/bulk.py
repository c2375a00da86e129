"""Many sagas retried in growing waves: 1, 5, 25, then the rest; it stops when the same failure comes back.

Each saga is retried by the one operation for it, in the name of who asked. Where it all stands is in the rows, so that
whoever drives it, a sweeper or a terminal, may die at any moment, and two who drive it at once do no harm.
"""

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, transaction
from django.db.models import Count
from django.db.models.functions import Now
from django.utils.timezone import now

from sagas import denials, operations
from sagas.exceptions import OperationRefused, StaleVersion, UnknownSaga
from sagas.models import Operation, SagaInstance, StepAttempt
from sagas.operating import BUSY
from sagas.operator_models import BulkItem, BulkRetry
from sagas.periodic import periodic
from sagas.states import SagaStatus
from sagas.steps import minutes, seconds

PERMISSION = "sagas.start_bulkretry"

# How many sagas one bulk retry may have, and how many are tried at a time.
MOST = 1_000
WAVES = (1, 5, 25)
REST = 100

Item, Bulk = BulkItem.State, BulkRetry.State


def start(bulk_id: UUID, actor: User, reason: str, saga_ids: Iterable[UUID], *, chosen: str) -> BulkRetry:
    """Store what is to be retried; ``bulk_id`` is made by the page, so that a double click is one.

    Raises `PermissionDenied`, and `ValueError` without a reason, without sagas or with too many.
    """
    require(actor, "start")
    wanted = sorted(set(saga_ids))
    if not reason.strip():
        raise ValueError("Say why: the reason is kept with each saga.")
    if len(wanted) > MOST:
        raise ValueError(f"At most {MOST} sagas are retried together; choose fewer.")
    with transaction.atomic():
        bulk, made = BulkRetry.objects.get_or_create(
            pk=bulk_id, defaults={"actor": actor, "reason": reason, "chosen": chosen[:300], "started_at": Now()}
        )
        if made:
            there = SagaInstance.objects.filter(pk__in=wanted).order_by("pk").values_list("pk", flat=True)
            # An id of its own for each, so that its retry is done once whoever does it.
            BulkItem.objects.bulk_create(BulkItem(bulk=bulk, saga_id=pk, operation_id=uuid4()) for pk in there)
            if not bulk.items.exists():
                raise ValueError("None of these sagas is there any more; choose others.")
    bulk.refresh_from_db()
    return bulk


def stop(bulk_id: UUID, actor: User) -> None:
    """Try no further ones. What runs already is still watched."""
    require(actor, "stop")
    why = f"{actor.get_username()} stopped it"
    BulkRetry.objects.filter(pk=bulk_id, state=Bulk.RUNNING).update(state=Bulk.STOPPED, why=why)


def require(actor: User, word: str) -> None:
    """Raise `PermissionDenied` for who may not retry many sagas, and write down that it was tried."""
    if not (actor.has_perm(PERMISSION) and actor.has_perm(operations.PERMISSIONS["retry"])):
        why = "You may not retry many sagas together."
        denials.write_down(actor, f"{word} bulk retry", why)
        raise PermissionDenied(why)


@periodic(every=seconds(2), limit=minutes(2))
def drive_bulk_retries() -> int:
    """Bring every open bulk retry one look further. Returns how many are open."""
    opened = list(BulkRetry.objects.filter(ended_at=None).order_by("id").values_list("pk", flat=True)[:20])
    for bulk_id in opened:
        tick(bulk_id)
    return len(opened)


def tick(bulk_id: UUID) -> None:
    """See what came of those that run, decide, and retry the next ones. A second one at the same time does nothing."""
    with transaction.atomic(durable=True):
        bulk = BulkRetry.objects.select_for_update(skip_locked=True).filter(pk=bulk_id, ended_at=None).first()
        if bulk is None:
            return
        running = list(bulk.items.filter(state=Item.RUNNING).select_related("saga"))
        done = _operations_of(running)
        _observe(running, done)
        _decide(bulk, running, done)
        todo = list(bulk.items.filter(state=Item.RUNNING).select_related("saga").exclude(operation_id__in=list(done)))
    for item in todo if bulk.state == Bulk.RUNNING else ():
        if not _retry(bulk, item):
            return


def counts(bulk: BulkRetry) -> dict[str, int]:
    """How many items stand where; every state is named."""
    found = dict(bulk.items.order_by().values_list("state").annotate(Count("id")))
    return {state: found.get(state, 0) for state in Item}


# --- what came of those that run ----------------------------------------------------------------------


def _operations_of(items: Sequence[BulkItem]) -> dict[UUID, Operation]:
    return Operation.objects.in_bulk([item.operation_id for item in items])


def _observe(running: Sequence[BulkItem], done: dict[UUID, Operation]) -> None:
    """Write down what became of each that was retried: by the first attempt after its retry."""
    ids = [item.saga_id for item in running if item.operation_id in done]
    since = min((operation.at for operation in done.values()), default=now())
    ended = StepAttempt.objects.filter(saga_id__in=ids, ended_at__isnull=False, started_at__gte=since)
    attempts = list(ended.order_by("saga_id", "number"))
    for item in running:
        if item.saga is None:
            item.state, item.said = Item.OTHER, "the saga is no longer there"
        elif operation := done.get(item.operation_id):
            own = [each for each in attempts if each.saga_id == item.saga_id and each.started_at >= operation.at]
            _judge(item, item.saga, operation, next(filter(_same_half(item), own), None))
    BulkItem.objects.bulk_update([item for item in running if item.state != Item.RUNNING], ["state", "said"])


def _same_half(item: BulkItem) -> Callable[[StepAttempt], bool]:
    if item.position is None:
        return lambda attempt: True
    return lambda attempt: (attempt.position, attempt.side) == (item.position, item.side)


def _judge(item: BulkItem, saga: SagaInstance, operation: Operation, attempt: StepAttempt | None) -> None:
    if attempt is not None:
        failed = Item.SAME if attempt.fingerprint == item.fingerprint else Item.OTHER
        item.state = Item.RECOVERED if attempt.outcome == "DONE" else failed
        item.said = f"{attempt.step}: {attempt.outcome} {attempt.message}"[:500]
    elif saga.ended_at is not None:
        item.state = Item.RECOVERED if saga.status == SagaStatus.COMPLETED else Item.OTHER
        item.said = f"the saga is {saga.status}"
    elif saga.status == SagaStatus.SUSPENDED and saga.version > operation.version_after:
        # What no attempt tells of, such as a step that kills its worker; or somebody has paused it.
        item.state = Item.OTHER if item.fingerprint or saga.suspend_reason == "OPERATOR_PAUSE" else Item.SAME
        item.said = f"the saga is suspended again: {saga.suspend_reason}"


# --- how it goes on -----------------------------------------------------------------------------------


def _decide(bulk: BulkRetry, running: Sequence[BulkItem], done: dict[UUID, Operation]) -> None:
    """Stop, end, or begin the next wave when the last one has settled."""
    stand = counts(bulk)
    if bulk.state == Bulk.RUNNING and stand[Item.SAME]:
        said = bulk.items.filter(state=Item.SAME).values_list("said", flat=True).first()
        bulk.state, bulk.why = Bulk.STOPPED, f"the same failure came back: {said}"[:500]
    if bulk.state == Bulk.STOPPED:
        # Chosen for the wave and not retried yet: they are left alone.
        left = [item.pk for item in running if item.state == Item.RUNNING and item.operation_id not in done]
        stand[Item.RUNNING] -= bulk.items.filter(pk__in=left).update(state=Item.QUEUED)
    if not stand[Item.RUNNING]:
        if bulk.state == Bulk.RUNNING and stand[Item.QUEUED]:
            _begin_wave(bulk)
        else:
            bulk.state = Bulk.DONE if bulk.state == Bulk.RUNNING else bulk.state
            bulk.ended_at = now()
    bulk.save()


def _begin_wave(bulk: BulkRetry) -> None:
    size = WAVES[bulk.wave] if bulk.wave < len(WAVES) else REST
    bulk.wave += 1
    items = list(bulk.items.filter(state=Item.QUEUED).order_by("id")[:size])
    failed = StepAttempt.objects.filter(saga_id__in=[item.saga_id for item in items]).exclude(fingerprint="")
    last = {attempt.saga_id: attempt for attempt in failed.order_by("saga_id", "-id").distinct("saga_id")}
    for item in items:
        item.state, item.wave = Item.RUNNING, bulk.wave
        if attempt := last.get(item.saga_id) if item.saga_id else None:
            item.position, item.side, item.fingerprint = attempt.position, attempt.side, attempt.fingerprint
    BulkItem.objects.bulk_update(items, ["state", "wave", "position", "side", "fingerprint"])


def _retry(bulk: BulkRetry, item: BulkItem) -> bool:
    """Retry one saga; what cannot be retried now is left for the next look. False when all has to stop."""
    if not BulkRetry.objects.filter(pk=bulk.pk, state=Bulk.RUNNING).exists():
        return False  # stopped meanwhile
    if item.saga is None:
        return True  # the next look writes it down
    request = operations.Request(item.operation_id, bulk.actor, bulk.reason, item.saga.version)
    try:
        operations.retry(item.saga.pk, request)
    except PermissionDenied as error:
        BulkRetry.objects.filter(pk=bulk.pk).update(state=Bulk.STOPPED, why=f"{bulk.actor}: {error}"[:500])
        return False
    except (StaleVersion, UnknownSaga, OperationalError):
        return True  # it moved on meanwhile: look again
    except OperationRefused as refused:
        if str(refused) != BUSY:
            BulkItem.objects.filter(pk=item.pk).update(state=Item.REFUSED, said=str(refused)[:500])
    return True
