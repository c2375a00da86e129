"""A saga that kills its workers, and the innocent ones that share commits with it."""

import os
import signal
from datetime import timedelta

import pytest
from django.db import connections, transaction

from sagas.definition import Step
from sagas.driver import drain_due
from sagas.engine import MAX_STALLS, work_together
from sagas.models import SagaInstance
from sagas.outcomes import Transient
from sagas.services import OnConflict, start
from tests.sagas.outside import SharedWorld
from tests.sagas.plans import Transfer, TransferData, World, effect, effects
from tests.sagas.rows import outcomes
from tests.sagas.together import NOTE, begin_all, commits_counted, execute, note, statuses_of

INNOCENT = tuple(f"T{number}" for number in range(8))


class Killed(BaseException):
    """Stands for the end of the process in the middle of a step."""


def die() -> None:
    raise Killed


def first(ctx) -> None:
    effect(ctx, "first")


def last(ctx) -> None:
    effect(ctx, "last")


BEFORE, AFTER = Step(first, reads_only=True), Step(last, reads_only=True)


def make_all_late() -> None:
    """Every saga that is still at work has been due for a minute."""
    execute("UPDATE sagas_sagainstance SET wake_at = clock_timestamp() - interval '1 minute' WHERE wake_at IS NOT NULL")


def live_and_die() -> bool:
    """The life of one worker; says whether it was killed."""
    try:
        drain_due()
    except Killed:
        return True
    return False


def lives_until_all_rest() -> int:
    """One worker after the other finds everything late; says how many were killed."""
    killed = 0
    while SagaInstance.objects.filter(wake_at__isnull=False).exists():
        make_all_late()
        killed += live_and_die()
        assert killed < 100
    return killed


@pytest.mark.parametrize(
    ("steps", "deaths"),
    # At a later step the first death is not counted: the saga that was taken up late had made progress since.
    [((NOTE, AFTER), MAX_STALLS), ((BEFORE, NOTE, AFTER), MAX_STALLS + 1)],
    ids=["at its first step", "later"],
)
def test_a_saga_that_kills_its_workers_is_suspended_alone(world: World, define, steps: tuple[Step, ...], deaths: int):
    sagas = begin_all(define(*steps), *INNOCENT[:4], "poison", *INNOCENT[4:])
    world.script["poison"] = [die] * 100
    poison = sagas.pop(4)

    killed = lives_until_all_rest()

    assert killed == deaths
    assert statuses_of(*sagas) == ["COMPLETED"] * 8
    poison.refresh_from_db()
    assert (poison.status, poison.suspend_reason) == ("SUSPENDED", "RETRIES_EXHAUSTED")
    assert poison.attention == "taken up 5 times without an outcome; its step may be killing the worker"
    assert [outcomes(saga, "note") for saga in sagas] == [["DONE"]] * 8
    assert not SagaInstance.objects.filter(events__after="SUSPENDED").exclude(pk=poison.pk).exists()
    assert "noted" not in effects("poison")


def test_innocent_sagas_that_meet_one_killer_after_the_other_are_never_suspended(world: World, define):
    killers = [f"killer {number}" for number in range(6)]
    plan = define(BEFORE, NOTE, AFTER)
    sagas = begin_all(plan, *INNOCENT[:1], *killers[:3], *INNOCENT[1:5], *killers[3:], *INNOCENT[5:])
    for killer in killers:
        world.script[killer] = [die] * 100

    lives_until_all_rest()

    sagas = list(SagaInstance.objects.filter(business_key__in=INNOCENT))
    assert statuses_of(*sagas) == ["COMPLETED"] * 8
    assert SagaInstance.objects.filter(status="SUSPENDED", business_key__in=killers).count() == 6
    assert not SagaInstance.objects.filter(events__after="SUSPENDED", business_key__in=INNOCENT).exists()
    assert [effects(saga.business_key) for saga in sagas] == [["first", "last", "noted"]] * 8


def test_workers_that_die_early_are_held_against_nobody(world: World, define):
    """Nothing is late yet: whatever killed them, the next worker is there at once."""
    sagas = begin_all(define(NOTE), *INNOCENT, "poison")
    world.script["poison"] = [die] * (2 * MAX_STALLS)

    for _ in range(2 * MAX_STALLS):
        execute("UPDATE sagas_sagainstance SET wake_at = clock_timestamp()")
        assert live_and_die() is True

    assert statuses_of(*sagas) == ["PENDING"] * 9
    assert {saga.stalls for saga in sagas} == {0}
    assert live_and_die() is False
    assert statuses_of(*sagas) == ["COMPLETED"] * 9


def test_a_saga_that_was_late_with_others_steps_back_and_goes_on_by_itself_the_next_time(world: World, define):
    sagas = begin_all(define(NOTE), *INNOCENT, "poison")
    world.script["poison"] = [die]
    make_all_late()
    assert live_and_die()
    for saga in sagas:
        saga.refresh_from_db()
    assert {saga.stalls for saga in sagas} == {1}

    make_all_late()
    (suspect,) = work_together(9)

    assert (suspect.due, suspect.saga) == (True, None)
    for saga in sagas:
        saga.refresh_from_db()
    assert {saga.pk: saga.stalls for saga in sagas} == {saga.pk: 1 for saga in sagas} | {suspect.saga_id: 2}


def test_a_saga_in_line_may_look_late_as_often_as_it_likes(world: World):
    """Its look changes nothing while the holder is not done, which is no reason to suspect it."""
    world.raises("move_money", Transient("not now", timedelta(hours=1)))
    for number in ("T1", "T2"):
        with transaction.atomic():
            start(Transfer, TransferData(number, "A", "B"), key=number, on_conflict=OnConflict.WAIT)
        drain_due()
    second = SagaInstance.objects.get(business_key="T2")

    # A worker was killed when it had counted this one among others.
    execute("UPDATE sagas_sagainstance SET stalls = 1 WHERE id = %s", second.pk)
    for _ in range(2 * MAX_STALLS):
        execute(
            "UPDATE sagas_sagainstance SET wake_at = clock_timestamp() - interval '1 minute' WHERE id = %s", second.pk
        )
        drain_due()
        second.refresh_from_db()

        assert (second.status, second.waiting_on["kind"], second.stalls) == ("WAITING", "lock", 0)


def test_a_backlog_that_is_simply_late_shares_its_commits(world: World, define):
    sagas = begin_all(define(BEFORE, NOTE, AFTER), *(f"T{number}" for number in range(50)))
    make_all_late()

    with commits_counted() as commits:
        assert drain_due() is False

    assert statuses_of(*sagas) == ["COMPLETED"] * 50
    assert {saga.stalls for saga in sagas} == {0}
    assert {tuple(outcomes(saga, "note")) for saga in sagas} == {("DONE",)}
    assert commits() < 50, "three steps of fifty sagas, counted before"


def test_a_process_that_a_saga_kills_for_good_takes_no_innocent_saga_with_it(shared: SharedWorld, define):
    """A forked worker is killed by the kernel in the middle of a shared commit, again and again."""

    def kill(ctx) -> None:
        note(ctx)
        if ctx.key == "poison":
            os.kill(os.getpid(), signal.SIGKILL)

    sagas = begin_all(define(Step(kill, reads_only=True)), *INNOCENT[:4], "poison", *INNOCENT[4:])
    poison = sagas.pop(4)

    ends = []
    for _ in range(100):
        make_all_late()
        ends.append(end_of_a_forked_worker())
        if not SagaInstance.objects.filter(wake_at__isnull=False).exists():
            break

    assert ends.count(-signal.SIGKILL) == MAX_STALLS
    assert statuses_of(poison, *sagas) == ["SUSPENDED"] + ["COMPLETED"] * 8
    assert [effects(saga.business_key) for saga in sagas] == [["noted"]] * 8
    assert effects("poison") == []


def end_of_a_forked_worker() -> int:
    """The exit code of a process that drives what is due; negative for the signal that killed it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            connections["default"].connection = None
            drain_due()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
