"""What other apps tell the operator's room of their sagas, since the engine knows no orders and no bank.

An app registers its functions in `AppConfig.ready`. None of them may write.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from sagas.codec import from_json
from sagas.definition import newest, registry


@dataclass(frozen=True, slots=True)
class Stake:
    """What an outcome is about: minor units, to compare with the limit, and the same in words."""

    amount: int
    words: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something that came from outside about a saga's subject: when, what, and what was made of it."""

    at: datetime
    what: str
    said: str


_stakes: dict[str, Callable[[list[Any]], list[Stake | None]]] = {}
_evidence: dict[str, Callable[[Any], list[Evidence]]] = {}
_services: dict[str, Callable[[], str]] = {}


def register_stake(definition: str, stakes: Callable[[list[Any]], list[Stake | None]]) -> None:
    """Say what is at stake in sagas of a definition: ``stakes(datas)``, one for each, in at most a query or two."""
    _stakes[definition] = stakes


def register_evidence(definition: str, evidence: Callable[[Any], list[Evidence]]) -> None:
    """Say what came from outside about a saga: ``evidence(data)``, the newest first and not too many."""
    _evidence[definition] = evidence


def register_service(name: str, why_not: Callable[[], str]) -> None:
    """Say whether a service can be called now: ``why_not()`` is empty when it can. It calls nobody outside."""
    _services[name] = why_not


def stakes_of(definition: str, datas: list[tuple[int, Any]]) -> list[Stake | None]:
    """What is at stake in sagas with these versions and JSON; None where nobody knows."""
    function = _stakes.get(definition)
    found: list[Stake | None] = [None] * len(datas)
    values = [_data(definition, version, data) for version, data in datas] if function else []
    known = [at for at, value in enumerate(values) if value is not None]
    if function is not None and known:
        for at, stake in zip(known, function([values[at] for at in known]), strict=True):
            found[at] = stake
    return found


def is_unreadable(definition: str, version: int, data: Any) -> bool:
    """Whether an app says what is at stake in such sagas, but this one's data cannot be shown to it."""
    return definition in _stakes and _data(definition, version, data) is None


def stake_of(definition: str, version: int, data: Any) -> Stake | None:
    return stakes_of(definition, [(version, data)])[0]


def evidence_of(definition: str, version: int, data: Any) -> list[Evidence]:
    function = _evidence.get(definition)
    value = _data(definition, version, data) if function else None
    return [] if function is None or value is None else function(value)


def why_not_call(service: str) -> str:
    """Why a service is not called now; empty when it is, or when nobody knows."""
    function = _services.get(service)
    return function() if function else ""


def _data(definition: str, version: int, data: Any) -> Any:
    # As the engine carries it on: see `store.plan_for`.
    plan = registry.get((definition, version)) or newest(definition)
    try:
        return None if plan is None else from_json(plan.data_type, data)
    except msgspec.ValidationError:
        return None  # of an older version
