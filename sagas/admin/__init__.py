"""The operator's room in the Django admin: sagas, what they hold, and what people did to them."""

from sagas.admin.alert_admin import AlertAdmin
from sagas.admin.audit_admin import DeniedOperationAdmin, OperationAdmin
from sagas.admin.bulk_admin import BulkRetryAdmin
from sagas.admin.flow_admin import DeadLetterAdmin, FlowRunAdmin, OutboxEventAdmin
from sagas.admin.lock_admin import LockAdmin
from sagas.admin.periodic_admin import PeriodicJobAdmin
from sagas.admin.saga_admin import SagaAdmin
from sagas.admin.unknown_admin import UnknownOutcomeAdmin

__all__ = [
    "AlertAdmin",
    "BulkRetryAdmin",
    "DeadLetterAdmin",
    "DeniedOperationAdmin",
    "FlowRunAdmin",
    "LockAdmin",
    "OperationAdmin",
    "OutboxEventAdmin",
    "PeriodicJobAdmin",
    "SagaAdmin",
    "UnknownOutcomeAdmin",
]
