"""An errand: note it, buy something outside, note that it is done.

The outside world is a folder, named by ``ERRANDS``. It keeps what was bought under which key, and
a line for every call that reached it. While it holds a file ``stall before`` or ``stall after``,
calls wait before or after they take effect, as those of a slow shop do. ``ERRANDS_LEASE_S`` is the lease of
a call where it is set.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from django.db import connection

from sagas import attempts
from sagas.definition import Begin, Context, Pivot, RemoteStep, Retry, Saga, Step, remote, seconds
from sagas.outcomes import CannotTell, CheckAnswer, Happened

timeout = seconds(30)
if "ERRANDS_LEASE_S" in os.environ:
    timeout, attempts.LEASE_MARGIN = seconds(float(os.environ["ERRANDS_LEASE_S"])), seconds(0)

soon = Retry(attempts=20, first=seconds(0.02), cap=seconds(0.1))


@dataclass(frozen=True)
class ErrandData:
    name: str


Ctx = Context[ErrandData]


def world() -> Path:
    return Path(os.environ["ERRANDS"])


def write_line(kind: str, ctx: Ctx) -> None:
    with (world() / "calls").open("a") as calls:
        calls.write(f"{kind} {ctx.key} {os.getpid()}\n")


def stall(moment: str, ctx: Ctx) -> None:
    if not (world() / f"stall {moment}").exists():
        return
    (world() / f"stalled {ctx.key}").write_text(str(os.getpid()))
    until = monotonic() + 60
    while (world() / f"stall {moment}").exists() and monotonic() < until:
        sleep(0.01)


def note(ctx: Ctx, what: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO test_effect (key, what) VALUES (%s, %s)", [ctx.key, what])


def ask_for_errand() -> None: ...


def forget_errand(ctx: Ctx, receipt: None) -> None: ...


def note_start(ctx: Ctx) -> None:
    note(ctx, "started")


def forget_start(ctx: Ctx, receipt: None) -> None: ...


@remote()
def buy(ctx: Ctx, request: None) -> str:
    write_line("buy", ctx)
    stall("before", ctx)
    path = world() / f"bought {ctx.idempotency_key}"
    path.touch()
    stall("after", ctx)
    return path.name


def find_bought(ctx: Ctx, request: None) -> CheckAnswer[str]:
    write_line("find", ctx)
    path = world() / f"bought {ctx.idempotency_key}"
    return Happened(path.name) if path.exists() else CannotTell("not here yet")


@remote()
def give_back(ctx: Ctx, receipt: str | None) -> None: ...


def note_end(ctx: Ctx) -> None:
    note(ctx, "done")


class Errand(Saga[ErrandData]):
    name, version = "test.errand", 1
    steps = (
        Begin(ask_for_errand, compensation=forget_errand),
        Step(note_start, compensation=forget_start, retry=soon),
        RemoteStep(buy, compensation=give_back, check=find_bought, retry=soon, timeout=timeout),
        Pivot(note_end, retry=soon),
    )
