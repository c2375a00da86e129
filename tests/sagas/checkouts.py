"""A checkout without a shop: each kind of step once, and walks to any of them."""

from dataclasses import dataclass

from sagas.definition import Begin, Pivot, RemoteStep, Retry, Step, remote, seconds
from sagas.plan import Plan, plan_steps
from sagas.testing import done
from tests.sagas.walks import Walk


@dataclass(frozen=True)
class Data: ...


def place(ctx): ...


def cancel(ctx, receipt): ...


def reserve(ctx): ...


def release(ctx, receipt): ...


def look(ctx): ...


@remote()
def authorize(ctx, request): ...


@remote()
def void(ctx, receipt): ...


@remote()
def capture(ctx, request): ...


def confirm(ctx): ...


@remote()
def send(ctx, request): ...


RETRY = Retry(attempts=3, first=seconds(4), cap=seconds(60))
BEGIN = Begin(place, compensation=cancel)
RESERVE = Step(reserve, compensation=release, retry=RETRY)
AUTHORIZE = RemoteStep(authorize, compensation=void, retry=RETRY)
CAPTURE = Pivot(capture, retry=RETRY)
CONFIRM = Step(confirm, retry=RETRY)
SEND = RemoteStep(send, retry=RETRY)
CHECKOUT = (BEGIN, RESERVE, AUTHORIZE, CAPTURE, CONFIRM, SEND)


def walk_at(name, *items, deadline=None):
    """A walk in which everything before the step ``name`` is done."""
    items = items or CHECKOUT
    walk = Walk(Plan("test.plan", 1, Data, deadline, (), plan_steps("test.plan", items)))
    while next(s.name for s, state in steps(walk) if state.action != "SUCCEEDED") != name:
        walk.attempt(done())
    return walk


def steps(walk):
    return list(zip(walk.plan.steps, walk.saga.steps, strict=True))


def step(walk, name):
    return next(state for planned, state in steps(walk) if planned.name == name)


def pause_of(walk, name):
    due_at = step(walk, name).due_at
    return due_at and (due_at - walk.now).total_seconds()


def again(walk, outcome, times):
    """So many attempts with the same outcome, each as soon as it may be."""
    for _ in range(times):
        walk.wait_until_due()
        walk.attempt(outcome)


def done_until_it_rests(walk):
    """What is still to do is done; the steps in the order in which they ended."""
    names = []
    while walk.saga.wake_at is not None:
        before = walk.saga
        walk.wait_until_due()
        walk.attempt(done())
        names += [
            p.name
            for p in walk.plan.steps
            if (before.steps[p.position].action, before.steps[p.position].compensation)
            != (walk.saga.steps[p.position].action, walk.saga.steps[p.position].compensation)
            and "SUCCEEDED"
            in {walk.saga.steps[p.position].compensation if walk.saga.backward else walk.saga.steps[p.position].action}
        ]
    return names
