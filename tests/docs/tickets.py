"""The example of docs/your-own-saga.md: every code block there stands here, and the tests run it."""

# --- the data ---
from dataclasses import dataclass

from sagas.definition import Begin, Context, Lock, Pivot, RemoteStep, Saga, Step, minutes, remote, seconds
from sagas.outcomes import CannotTell, CheckAnswer, Happened, Refused, Transient, Unknown


@dataclass(frozen=True)
class Purchase:
    number: str
    seat: str
    cents: int


@dataclass(frozen=True)
class Charge:
    charge_id: str


Ctx = Context[Purchase]
# --- end ---

# What your own app would have: rows in the database, a client of a service. Here they are dictionaries.
SEATS: dict[str, str] = {}
TICKETS: set[str] = set()


class CardService:
    """Keeps idempotency keys, as payment services do."""

    class Declined(Exception): ...

    class Unreachable(Exception): ...

    class NoAnswer(Exception): ...

    def __init__(self) -> None:
        self.charges: dict[str, str] = {}
        self.refunded: set[str] = set()
        self.accident: Exception | None = None
        self.loses_answer = False

    def charge(self, key: str, cents: int, timeout: float) -> str:
        if self.accident is not None:
            accident, self.accident = self.accident, None
            raise accident
        charge_id = self.charges.setdefault(key, f"ch_{len(self.charges) + 1}")
        if self.loses_answer:
            self.loses_answer = False
            raise self.NoAnswer("no answer in time")
        return charge_id

    def find(self, key: str) -> str | None:
        return self.charges.get(key)

    def refund_by_key(self, key: str) -> None:
        self.refunded.add(key)


cards = CardService()


# --- local steps ---
def hold_seat(ctx: Ctx) -> None:
    """One commit with the saga's progress: raise, and both are rolled back."""
    if SEATS.get(ctx.data.seat, ctx.data.number) != ctx.data.number:
        raise Refused("seat_taken", f"seat {ctx.data.seat} is taken")
    SEATS[ctx.data.seat] = ctx.data.number


def free_seat(ctx: Ctx, receipt: None) -> None:
    """Named for what it does. It may be called twice, and must never say no."""
    if SEATS.get(ctx.data.seat) == ctx.data.number:
        del SEATS[ctx.data.seat]


# --- end ---


# --- a remote step ---
@remote()
def charge_card(ctx: Ctx, request: None) -> Charge:
    """Three outcomes: the receipt, a refusal, or nobody knows."""
    try:
        return Charge(cards.charge(ctx.idempotency_key, ctx.data.cents, ctx.timeout.total_seconds()))
    except CardService.Declined as error:
        raise Refused("declined", str(error)) from error
    except CardService.Unreachable as error:
        raise Transient(str(error)) from error
    except CardService.NoAnswer as error:
        raise Unknown(str(error)) from error


def find_charge(ctx: Ctx, request: None) -> CheckAnswer[Charge]:
    """Asked before a call whose outcome is unknown is repeated. "Not found" is no proof."""
    charge_id = cards.find(ctx.idempotency_key)
    return Happened(Charge(charge_id)) if charge_id else CannotTell("not found, but it may be on its way")


@remote()
def refund_charge(ctx: Ctx, receipt: Charge | None) -> None:
    """The receipt is None when nobody knows whether the charge happened: accept that there may be none."""
    cards.refund_by_key(f"{ctx.saga_id}:charge_card:action")


# --- end ---


# --- the rest ---
def print_ticket(ctx: Ctx) -> None:
    TICKETS.add(f"{ctx.data.seat} paid with {ctx.receipt_of(charge_card).charge_id}")


def order_ticket(number: str) -> None:
    """Stores the purchase and starts the saga, in one transaction: see below."""


def forget_purchase(ctx: Ctx, receipt: None) -> None:
    """Whatever was stored with the saga is marked as not bought."""


# --- end ---


# --- the plan ---
class BuyTicket(Saga[Purchase]):
    name, version = "tickets.buy", 1
    deadline = minutes(15)
    locks = (Lock[Purchase]("seat", lambda purchase: purchase.seat),)

    steps = (
        Begin(order_ticket, compensation=forget_purchase),
        Step(hold_seat, compensation=free_seat),
        RemoteStep(charge_card, compensation=refund_charge, check=find_charge, timeout=seconds(5)),
        Pivot(print_ticket),
    )


# --- end ---
