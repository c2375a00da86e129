"""The engine's own statements are prepared once a session; nothing that others send is."""

from collections.abc import Callable

from django.db import connection

from sagas import prepared
from sagas.definition import Context, Saga, Step
from sagas.engine import work_together
from sagas.outcomes import Refused
from tests.sagas.plans import TripData, World, effect, effects
from tests.sagas.together import LATER, begin_all, statuses_of

Define = Callable[..., type[Saga[TripData]]]


def names() -> set[str]:
    """Of what the session has prepared. The driver never gives the same name again."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements")
        return {name for (name,) in cursor.fetchall()}


def write_and_refuse_the_first(ctx: Context[TripData]) -> None:
    effect(ctx, "written")
    if ctx.key == "T0":
        raise Refused("no", "no")


def test_a_statement_is_prepared_when_it_is_sent_first_and_never_again(world: World):
    before = names()

    for number in range(3):
        with prepared.cursor() as cursor:
            cursor.execute("SELECT %s::int + 1", [number])
            assert cursor.fetchall() == [(number + 1,)]

    assert len(names() - before) == 1


def test_what_django_sends_is_never_prepared_however_often(world: World):
    before = names()

    for _ in range(10):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    assert names() == before
    assert connection.connection.prepare_threshold is None


def test_a_step_that_is_taken_back_leaves_what_is_prepared(world: World, define: Define):
    plan = define(Step(write_and_refuse_the_first, reads_only=True, retry=LATER))
    begin_all(plan, "T8", "T9")
    work_together(2)
    before = names()
    sagas = begin_all(plan, "T0", "T1")

    work_together(2)

    assert statuses_of(*sagas) == ["COMPENSATED", "COMPLETED"]
    assert (effects("T0"), effects("T1")) == ([], ["written"])
    assert before
    assert before <= names()
