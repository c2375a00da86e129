"""`manage.py sagas` for those who live in a terminal."""

import json
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError

from sagas.models import SagaInstance
from tests.sagas.operators import (
    OPERATIONS,
    answers,
    bank_is_itself_again,
    everything_about,
    operator,
    saga_for,
    trip,
)

__all__ = ["bank_is_itself_again", "operator"]


def sagas(*words: Any) -> str:
    out = StringIO()
    call_command("sagas", *map(str, words), stdout=out)
    return out.getvalue()


def refusal(*words: Any) -> tuple[str, int]:
    with pytest.raises(CommandError) as caught:
        sagas(*words)
    assert "\n" not in str(caught.value), "one line"
    return str(caught.value), caught.value.returncode


def command_for(name: str, saga: SagaInstance) -> list[str]:
    """An operation as it is typed."""
    said = answers(saga)
    words = ["--reason", "because", "--actor", "grace", "--wait", "0"]
    if name in ("resolve", "confirm", "reschedule", "skip", "waive"):
        words += ["--step", said["step"]]
    more = {
        "edit": ["--payload", said["payload"]],
        "resolve": ["--happened", "no"],
        "reschedule": ["--at", "2030-01-31T12:00"],
        "release": ["--lock", said["lock"]],
    }
    return [name, str(saga.pk), *words, *more.get(name, [])]


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_done_from_a_terminal_as_from_its_page(operator: User, name: str) -> None:
    saga = saga_for(name)

    told = sagas(*command_for(name, saga))

    assert told.startswith(f"{name}: ")
    done = saga.operations.get(name=name, actor=operator)
    assert done.reason == "because"


def test_the_list_shows_the_newest_first_and_can_be_narrowed(operator: User) -> None:
    first, second = trip("down", "ada"), trip("yes", "bob")

    assert [line.split()[0] for line in sagas("list").splitlines()] == [str(second.pk), str(first.pk)]
    assert [line.split()[0] for line in sagas("list", "--status", "LIVE").splitlines()] == [str(first.pk)]
    assert sagas("list", "--key", "nobody") == "No saga.\n"
    assert [saga["key"] for saga in json.loads(sagas("list", "--limit", "1", "--json"))] == ["bob"]


def test_a_list_of_none_or_of_too_many_names_the_bounds_and_not_each_number_between_them() -> None:
    for wrong in ("0", "1001", "ten"):
        with pytest.raises(CommandError, match=r"argument --limit: a whole number from 1 to 1000$"):
            sagas("list", "--limit", wrong)


def test_a_saga_is_shown_by_its_key_with_what_can_be_done(operator: User) -> None:
    saga = trip("down")

    told = sagas("show", "ada", "--actor", "grace")

    assert told.startswith(f"tests.journey ada is WAITING at version {saga.version}: Pauses before it tries pay again")
    assert "holds tests.traveller ada since" in told
    assert [line for line in told.splitlines() if line.startswith("can: ")] == [
        "can: retry",
        "can: edit",
        "can: compensate",
        "can: pause",
        "can: abandon",
    ]
    assert json.loads(sagas("show", saga.pk, "--json"))["status"] == "WAITING"


def test_a_preview_and_a_question_change_nothing(operator: User) -> None:
    saga = trip("lost")
    before = everything_about(saga)

    back = sagas("preview", "compensate", "ada")
    ahead = sagas("preview", "retry", "ada")
    answer = sagas("ask", "ada", "--step", "pay")

    key = f"{saga.pk}:pay:compensation"
    assert (
        f"pay_back for pay, calls bank with key {key}\nrelease_seat for reserve_seat\nThen it is COMPENSATED." in back
    )
    assert "failed alike today: 1 time in 1 saga\n" in ahead
    assert answer == f"The other side cannot tell: the bank keeps no list (key {saga.pk}:pay:action)\n"
    assert json.loads(sagas("preview", "compensate", "ada", "--json"))["ends_as"] == "COMPENSATED"
    assert everything_about(saga) == before


def test_what_is_wrong_is_one_line_and_an_exit_code_that_says_which_kind(operator: User) -> None:
    saga = trip("down")
    before = everything_about(saga)
    who = ["--actor", "grace", "--reason", "because", "--wait", "0"]

    assert refusal("resume", saga.pk, *who) == ("The saga is not paused.", 1)
    assert refusal("retry", uuid4(), *who)[1] == 1
    assert refusal("retry", saga.pk, "--actor", "nobody", "--reason", "x") == ("There is no active user 'nobody'.", 1)
    assert refusal("retry", saga.pk, "--actor", "grace", "--reason", " ")[0].startswith("Say why")
    assert refusal("retry", saga.pk, *who, "--seen", "1") == (
        "The saga has moved on since this page was made. Look at it again before you act. "
        f"It is at version {saga.version}.",
        4,
    )
    assert "required: --reason" in refusal("retry", saga.pk, "--actor", "grace")[0]
    assert everything_about(saga) == before


@pytest.mark.parametrize(
    ("its_words", "told"),
    [("connection is bad: refused\nIs the server running?", "connection is bad: refused"), ("", "")],
    ids=["two lines", "no words"],
)
def test_a_database_that_is_away_is_not_taken_for_a_worker_at_the_saga(
    monkeypatch: pytest.MonkeyPatch, its_words: str, told: str
) -> None:
    def away() -> None:
        raise OperationalError(its_words)

    monkeypatch.setattr("sagas.management.commands.sagas.with_steps", away)

    assert refusal("list") == (f"The database cannot be asked now. ({told})", 1)


def test_json_is_all_that_a_program_reads(operator: User) -> None:
    saga = trip("down")

    told = json.loads(sagas("pause", saga.pk, "--actor", "grace", "--reason", "because", "--wait", "0", "--json"))

    assert (told["operation"]["name"], told["saga"]["status"]) == ("pause", "SUSPENDED")
    assert told["outcome"].startswith("An operator paused it.")
