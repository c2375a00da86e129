"""Points cost nothing and do nothing unless a test listens."""

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from sagas.engine import work
from sagas.failpoints import listening, point
from tests.sagas.conftest import begin_trip, run
from tests.sagas.plans import World, effects


def test_a_point_that_nobody_listens_to_does_nothing():
    point("call", "book_flight", "action", "before")


def test_points_cannot_be_listened_to_in_production(settings, monkeypatch):
    settings.DEBUG = False
    monkeypatch.delattr(mail, "outbox")

    with pytest.raises(ImproperlyConfigured, match="use them in tests or with DEBUG only"), listening(print):
        pass


def test_a_local_step_passes_its_entry_and_both_sides_of_its_commit(world: World):
    begin_trip()
    seen: list[str] = []

    with listening(seen.append):
        work()

    assert seen == [
        "work:entry",
        "step:reserve_seat:action:entry",
        "step:reserve_seat:action:before-commit",
        "step:reserve_seat:action:after-commit",
    ]


def test_what_is_raised_before_a_commit_undoes_it(world: World):
    saga = begin_trip()

    def break_it(name: str) -> None:
        if name == "step:reserve_seat:action:before-commit":
            raise OperationalError("the server closed the connection")

    with listening(break_it), pytest.raises(OperationalError):
        work()

    assert (saga.attempts.count(), effects("T1")) == (0, [])
    run()
    assert effects("T1") == ["hotel", "paid", "seat", "ticket flight-0"]


def test_what_is_raised_after_a_commit_does_not(world: World):
    saga = begin_trip()

    def break_it(name: str) -> None:
        if name == "step:reserve_seat:action:after-commit":
            raise OperationalError("the server closed the connection")

    with listening(break_it), pytest.raises(OperationalError):
        work()

    assert (saga.attempts.count(), effects("T1")) == (1, ["seat"])
