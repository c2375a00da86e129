"""A small saga that can get stuck in every way, and the people who look after it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.db.models import F
from django.test import Client
from django.urls import reverse

from sagas import hooks, operations, services
from sagas.definition import (
    AwaitPerson,
    Context,
    Lock,
    Parallel,
    Pivot,
    RemoteStep,
    Retry,
    Saga,
    Step,
    minutes,
    remote,
    seconds,
)
from sagas.driver import Driver
from sagas.models import SagaInstance
from sagas.outcomes import CannotTell, Refused, Transient, Unknown

# Each operation with the permission that it needs, in the order in which they are offered.
PERMISSIONS = {
    "retry": "retry_saga",
    "edit": "edit_saga",
    "compensate": "compensate_saga",
    "resolve": "resolve_saga",
    "confirm": "resolve_saga",
    "pause": "pause_saga",
    "resume": "pause_saga",
    "reschedule": "reschedule_saga",
    "skip": "skip_saga",
    "waive": "waive_saga",
    "release": "release_saga",
    "abandon": "abandon_saga",
    "review": "review_saga",
}
OPERATIONS = tuple(PERMISSIONS)
MARKUP = "<script>alert(1)</script>"


@dataclass(frozen=True)
class TripData:
    traveller: str
    wish: str = ""


@dataclass(frozen=True)
class Seat:
    number: str


@dataclass(frozen=True)
class Payment:
    intent_id: str
    amount: int


@dataclass
class Bank:
    """What the bank answers now, and how often it was asked to pay or to pay back."""

    answer: str = "yes"
    paid: list[str] = field(default_factory=list)
    paid_back: list[str] = field(default_factory=list)


bank = Bank()
Ctx = Context[TripData]


def reserve_seat(ctx: Ctx) -> Seat:
    return Seat("12A")


def release_seat(ctx: Ctx, receipt: Seat) -> None:
    return


@remote(service="bank")
def pay(ctx: Ctx, request: None) -> Payment:
    if bank.answer == "no":
        raise Refused("card_declined", f"declined {MARKUP}")
    if bank.answer == "down":
        raise Transient(f"the bank is down {MARKUP}", retry_after=timedelta(hours=1))
    if bank.answer == "lost":
        raise Unknown(f"the answer was lost {MARKUP}")
    if bank.answer == "bug":
        raise KeyError(MARKUP)
    bank.paid.append(ctx.idempotency_key)
    return Payment("pi_1", 1999)


def find_payment(ctx: Ctx, request: None) -> CannotTell:
    return CannotTell("the bank keeps no list")


@remote(service="bank")
def pay_back(ctx: Ctx, request: Payment | None) -> None:
    if bank.answer == "cannot pay back":
        raise ValueError("the account is closed")
    if bank.answer == "keeps it":
        raise Refused("kept", "the bank keeps the money")
    bank.paid_back.append(ctx.idempotency_key)


def note_traveller(ctx: Ctx) -> None:
    return


def issue_ticket(ctx: Ctx) -> None:
    if bank.answer == "no paper":
        raise Refused("no_paper", "the printer is empty")


def send_ticket(ctx: Ctx) -> None:
    if bank.answer == "no stamp":
        raise Refused("no_stamp", "nobody has a stamp")


def decide(ctx: Ctx, verdict: str) -> str:
    return verdict


class Journey(Saga[TripData]):
    name, version = "tests.journey", 1
    deadline = minutes(30)
    locks = (Lock[TripData]("tests.traveller", lambda data: data.traveller),)
    steps = (
        Step(reserve_seat, compensation=release_seat),
        Parallel(
            Step(note_traveller, reads_only=True),
            RemoteStep(
                pay, compensation=pay_back, check=find_payment, timeout=seconds(5), retry=Retry(first=minutes(60))
            ),
        ),
        Pivot(issue_ticket),
        Step(send_ticket, skippable=True),
    )


class Visa(Saga[TripData]):
    name, version = "tests.visa", 1
    steps = (AwaitPerson(decide, within=minutes(10), reads_only=True),)


def start_trip(traveller: str = "ada") -> SagaInstance:
    with transaction.atomic():
        return services.start(Journey, TripData(traveller), key=traveller)


def drain() -> None:
    """Drive what is due on this connection, also inside a test's transaction."""
    with Driver(seconds=5) as driver:
        driver.drain()


def trip(answer: str, traveller: str = "ada") -> SagaInstance:
    """A trip that went as far as the bank's answer lets it. By itself it goes on after an hour at the soonest."""
    bank.answer = answer
    saga = start_trip(traveller)
    drain()
    an_hour_later = F("wake_at") + timedelta(hours=1)
    SagaInstance.objects.filter(pk=saga.pk, wake_at__isnull=False).update(wake_at=an_hour_later)
    saga.steps.filter(due_at__isnull=False).update(due_at=F("due_at") + timedelta(hours=1))
    saga.refresh_from_db()
    return saga


def staff(username: str, *permissions: str) -> User:
    user = User.objects.create_user(username, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def client_of(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def url(name: str, saga: SagaInstance) -> str:
    return reverse(f"admin:sagas_sagainstance_{name}", args=[saga.pk])


def answers(saga: SagaInstance, **changes: Any) -> dict[str, Any]:
    """What the page that asks would send."""
    saga.refresh_from_db()
    return {
        "reason": "the bank is up again",
        "version": saga.version,
        "seen": 0,
        "operation": str(uuid4()),
        "step": step_at_hand(saga),
        "lock": f"tests.traveller {saga.business_key}",
        "at": "2030-01-31T12:00",
        "happened": "no",
        "payload": json.dumps({"traveller": saga.business_key, "wish": "a window"}),
        **changes,
    }


def step_at_hand(saga: SagaInstance) -> str:
    """The step that a person could do something about."""
    if saga.definition == Visa.name:
        return "decide"
    return "send_ticket" if saga.suspend_reason == "CONTRACT_VIOLATION" else "pay"


def saga_for(operation: str) -> SagaInstance:
    """A saga for which the operation is open."""
    if operation == "reschedule":
        with transaction.atomic():
            saga = services.start(Visa, TripData("ada"), key="ada")
        drain()
    else:
        saga = trip({"resolve": "lost", "confirm": "lost", "waive": "lost", "skip": "no stamp"}.get(operation, "down"))
    if operation == "confirm":
        propose(saga)
    if operation == "waive":
        bank.answer = "keeps it"
        by_root(operations.compensate, saga)
        drain()
    elif operation in ("resume", "release"):
        by_root(operations.pause, saga)
    elif operation == "review":
        by_root(operations.abandon, saga)
    saga.refresh_from_db()
    return saga


def propose(saga: SagaInstance, by: str = "root", **words: Any) -> None:
    """Somebody says that the payment did not happen; much is at stake while it is said."""
    said = {"step": "pay", "happened": False, **words}
    with much_at_stake():
        by_root(lambda *args: operations.resolve(*args, **said), saga, by)


@contextmanager
def much_at_stake() -> Iterator[None]:
    """Every journey is about more money than one person may decide on."""
    before = dict(hooks._stakes)
    hooks.register_stake(Journey.name, lambda datas: [hooks.Stake(1_000_000, "10000.00 EUR")] * len(datas))
    try:
        yield
    finally:
        hooks._stakes.clear()
        hooks._stakes.update(before)


def by_root(operation: Callable[..., object], saga: SagaInstance, name: str = "root") -> None:
    root = User.objects.filter(username=name).first() or User.objects.create_superuser(name)
    saga.refresh_from_db()
    operation(saga.pk, operations.Request(uuid4(), root, "a look first", saga.version))


def everything_about(saga: SagaInstance) -> Any:
    saga.refresh_from_db()
    return (
        saga.version,
        saga.status,
        saga.wake_at,
        saga.events.count(),
        saga.attempts.count(),
        saga.operations.count(),
        [(step.action, step.compensation, step.due_at) for step in saga.steps.all()],
    )


def text_of(response: Any) -> str:
    return str(response.content.decode())


@pytest.fixture(autouse=True)
def bank_is_itself_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("sagas.admin.operating.FOLLOW_SECONDS", 0.2)
    yield
    bank.answer = "yes"
    bank.paid.clear()
    bank.paid_back.clear()


@pytest.fixture
def operator(db: None) -> User:
    return staff("grace", "view_sagainstance", *PERMISSIONS.values())


@pytest.fixture
def viewer(db: None) -> User:
    return staff("viewer", "view_sagainstance")
