"""Where the pages of other apps say how to reach the things that sagas hold."""

from collections.abc import Callable

import msgspec

from sagas.codec import from_json
from sagas.models import SagaInstance
from sagas.selectors import plan_of

_pages: dict[str, Callable[[str], str]] = {}


def register_resource_page(resource_type: str, page: Callable[[str], str]) -> None:
    """Say where a locked resource is shown: ``page(resource_id)`` returns the address. It runs no query."""
    _pages[resource_type] = page


def resource_url(resource_type: str, resource_id: str) -> str:
    """The page of a resource; empty where nobody registered one."""
    page = _pages.get(resource_type)
    return page(resource_id) if page else ""


def subject_url(saga: SagaInstance) -> str:
    """The page of the thing that a saga is about: the resource with its key among those it locks. No query."""
    plan = plan_of(saga)
    if plan is None:
        return ""
    try:
        data = from_json(plan.data_type, saga.data)
    except msgspec.ValidationError:
        return ""  # data of an older version; the page says so, the list need not
    for lock in plan.locks:
        if lock.resource_id(data) == saga.business_key:
            return resource_url(lock.resource_type, saga.business_key)
    return ""
