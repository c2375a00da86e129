"""A saga as one JSON document, to be taken along: what the API says of it, its data, receipts and rows."""

from dataclasses import asdict
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from sagas.admin.page import SagaPage
from sagas.api.documents import saga_document
from sagas.redaction import redact_values


def export_of(page: SagaPage, reader: AbstractBaseUser | AnonymousUser) -> dict[str, Any]:
    """The document; what looks like a secret is blotted out. It is for reading: nothing reads it back."""
    exported = redact_values(
        {
            "data": page.saga.data,
            "receipts": {step.name: step.receipt for step in page.saga.steps.all() if step.receipt is not None},
            "rows": {table.what: [asdict(row) for row in table.rows] for table in page.touched if not table.hidden},
            "in_line": {str(lock.row): [str(saga.pk) for saga in lock.in_line] for lock in page.locks},
        }
    )
    return {**saga_document(page.saga.pk, reader), **exported}
