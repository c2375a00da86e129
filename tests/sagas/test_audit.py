"""The auditor: each of the engine's rules goes red when its rows are broken by hand, and is green otherwise."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import InternalError, OperationalError, connection, transaction
from django.utils.timezone import now

from sagas import audit as auditing
from sagas import invariants, trail
from sagas.admin.periodic_admin import outcome_of
from sagas.attempts import Call
from sagas.audit import Rule, Scope, Violation, audit, audit_lately, auditor, broken, check, scope_of_next
from sagas.definition import OnBug, RemoteStep, Retry, Step, registry
from sagas.engine import record, work
from sagas.models import PeriodicJob, SagaInstance, Signal
from sagas.outcomes import Refused, Transient, Unknown
from sagas.services import signal
from tests.racing import race
from tests.sagas import plans
from tests.sagas.breakages import BREAKS, event, step
from tests.sagas.conftest import begin, begin_trip, run, run_trip
from tests.sagas.operating import ask, do
from tests.sagas.operators import client_of, staff
from tests.sagas.plans import Parcel, Return, World, parcel_back
from tests.sagas.rows import step_of
from tests.sagas.test_signals import begin_return

RULES = {name: rule for module in (invariants, trail) for name, rule in vars(module).items() if isinstance(rule, Rule)}


@pytest.fixture(autouse=True)
def _the_engine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shop's auditors have tests of their own; these trips are no orders."""
    monkeypatch.setattr(auditing, "registry", [r for r in auditing.registry if r.area == "sagas"])


@pytest.fixture
def sagas(world: World) -> dict[str, SagaInstance]:
    """One that is done, one that was undone from the end, one that waits, and one under way."""
    world.raises("book_flight", Transient("the line is busy"), Unknown("no answer"))
    done = run_trip("done")
    world.raises("pay", Refused("declined", "no money"))
    undone = run_trip("undone")
    waiting = begin_return("waiting")
    run()
    moving = begin_trip("moving")
    assert (done.status, undone.status) == ("COMPLETED", "COMPENSATED")
    return {"done": done, "undone": undone, "waiting": waiting, "moving": moving}


def execute(sql: str, **parameters: Any) -> None:
    with connection.cursor() as cursor:
        for statement in filter(str.strip, sql.split(";")):
            cursor.execute(statement, parameters)
            assert cursor.rowcount != 0, f"it broke nothing: {statement}"


def found_after(sql: str, **parameters: Any) -> list[Violation]:
    """What the audit finds in a transaction that breaks the rows and is rolled back."""
    with transaction.atomic():
        execute(sql, **parameters)
        found = list(check(Scope()))
        transaction.set_rollback(True)
    return found


def test_each_rule_goes_red_when_its_rows_are_broken(sagas: dict[str, SagaInstance], subtests: Any) -> None:
    for rule, whose, sql in BREAKS:
        with subtests.test(rule=rule, sql=sql):
            saga = sagas[whose].pk if whose else None

            found = found_after(sql, saga=saga)

            assert (RULES[rule].sentence, saga) in {(violation.rule, violation.saga) for violation in found}
    assert list(check(Scope())) == []


def test_what_a_person_says_never_happened_need_not_be_undone_first(world: World, define, operator: User) -> None:
    seat = Step(plans.reserve_seat, compensation=plans.release_seat)
    flight = RemoteStep(
        plans.book_flight, compensation=plans.cancel_flight, retry=Retry(attempts=1), on_bug=OnBug.BACKWARD
    )
    world.raises("book_flight", ZeroDivisionError("a bug"))
    world.raises("cancel_flight", Refused("unknown", "There is no such booking."))
    saga = begin(define(seat, flight), "T1")
    run()
    assert step_of(saga, "book_flight").compensation == "FAILED", "it was tried"

    do("resolve", saga, ask(operator, saga), step="book_flight", happened=False)
    run()

    saga.refresh_from_db()
    assert (saga.status, step_of(saga, "book_flight").compensation) == ("COMPENSATED", "NOT_NEEDED")
    assert list(check(Scope())) == []


def test_every_rule_is_broken_once_above() -> None:
    assert {name for name, _, _ in BREAKS} == set(RULES)
    assert set(RULES.values()) == set(invariants.RULES)


# --- a healthy run ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["COMPLETED", "COMPENSATED"])
def test_nothing_is_wrong_at_any_commit_of_a_saga(world: World, ending: str) -> None:
    world.raises("book_flight", Transient("busy"), Unknown("no answer"))
    if ending == "COMPENSATED":
        world.raises("pay", Refused("declined", "no money"))
        world.raises("cancel_flight", Transient("busy"))
    saga = begin_trip()
    commits = 0

    while saga.ended_at is None:
        SagaInstance.objects.filter(waiting_on__isnull=False).update(wake_at=now())
        done = work(saga.pk)
        assert list(check(Scope())) == []
        if isinstance(done, Call):
            record(done, done.make())
            assert list(check(Scope())) == []
        commits += 1
        saga.refresh_from_db()

    assert saga.status == ending
    assert commits >= 7


def test_a_saga_that_waits_for_a_signal_and_gets_it_is_healthy(world: World) -> None:
    begin_return("R1")
    run()
    assert list(check(Scope())) == []

    signal(Return, "R1", parcel_back, Parcel(3), dedup_id="scan-1")

    assert list(check(Scope())) == []
    run()
    assert list(check(Scope())) == []


# --- one snapshot -----------------------------------------------------------------------------------


def test_a_change_between_two_rules_is_not_seen(sagas: dict[str, SagaInstance], monkeypatch: Any) -> None:
    """The first auditor lets another connection break a saga; the second one still sees it whole."""
    seen = []
    monkeypatch.setattr(auditing, "registry", [])

    @auditor("first")
    def interfere(scope: Scope) -> Iterator[Violation]:
        yield from broken(invariants.RULES, scope, plans=trail.known_plans(), moves=trail.legal_moves())
        (failure,) = race([lambda: SagaInstance.objects.filter(pk=sagas["done"].pk).update(pivot_passed=False)])
        seen.append(failure)

    @auditor("second")
    def look(scope: Scope) -> Iterator[Violation]:
        seen.append(SagaInstance.objects.get(pk=sagas["done"].pk).pivot_passed)
        yield from broken(invariants.RULES, scope, plans=trail.known_plans(), moves=trail.legal_moves())

    report = audit()

    assert seen == [1, True]
    assert report.violations == ()
    monkeypatch.setattr(auditing, "registry", auditing.registry[1:])
    assert {violation.saga for violation in audit().violations} == {sagas["done"].pk}


def test_an_audit_cannot_write(sagas: dict[str, SagaInstance], monkeypatch: Any) -> None:
    @auditor("forger")
    def forge(scope: Scope) -> list[Violation]:
        SagaInstance.objects.update(attention="mended")
        return []

    with pytest.raises(InternalError, match="read-only transaction"):
        audit()

    assert set(SagaInstance.objects.values_list("attention", flat=True)) == {""}


# --- what is looked at ------------------------------------------------------------------------------


def break_and_age(saga: SagaInstance) -> None:
    """Break a saga that ended long ago."""
    execute(f"UPDATE sagas_sagastep SET token = 1 {step('reserve_seat')}", saga=saga.pk)
    execute("UPDATE sagas_sagainstance SET ended_at = ended_at - interval '2 days' WHERE id = %(saga)s", saga=saga.pk)


def test_an_audit_of_late_leaves_out_what_ended_before(sagas: dict[str, SagaInstance]) -> None:
    break_and_age(sagas["done"])
    since = now() - timedelta(hours=1)

    assert list(check(Scope(since))) == []
    assert {violation.saga for violation in check(Scope(since, (sagas["done"].pk,)))} == {sagas["done"].pk}
    assert {violation.saga for violation in check(Scope())} == {sagas["done"].pk}


def test_the_next_audit_begins_where_the_last_one_ended_and_keeps_what_was_wrong(
    sagas: dict[str, SagaInstance],
) -> None:
    break_and_age(sagas["done"])
    first = audit().to_json()
    PeriodicJob.objects.create(name="sagas.audit.audit_lately", last_started_at=now(), last_result=first)

    scope = scope_of_next()
    second = audit_lately()

    assert scope == Scope(datetime.fromisoformat(first["at"]) - timedelta(minutes=1), (sagas["done"].pk,))
    assert [violation["saga"] for violation in second["violations"]] == [str(sagas["done"].pk)] * len(
        first["violations"]
    )


def test_the_first_audit_looks_back_an_hour(world: World) -> None:
    scope = scope_of_next()

    assert scope.since is not None
    assert timedelta(minutes=59) < now() - scope.since < timedelta(minutes=61)


# --- the command, and the page ------------------------------------------------------------------------


def command(*options: str) -> str:
    out = StringIO()
    call_command("audit", *options, stdout=out)
    return out.getvalue()


def test_the_command_says_that_nothing_is_wrong(sagas: dict[str, SagaInstance]) -> None:
    assert command().startswith("Audited everything, as it was at ")
    assert command().endswith("Nothing is wrong.\n")
    assert json.loads(command("--json", "--lately"))["violations"] == []


def test_the_command_fails_with_a_sentence_the_values_and_the_saga(sagas: dict[str, SagaInstance]) -> None:
    done, out = sagas["done"].pk, StringIO()
    execute(f"UPDATE sagas_sagastep SET due_at = '2026-01-02 03:04+00' {step('pay')}", saga=done)

    with pytest.raises(CommandError, match=r"1 violation \(") as failed:
        call_command("audit", stdout=out)

    assert failed.value.returncode == 1
    assert (
        "  A saga that has ended has no lease and no timer. pay: found token 0, due 2026-01-02 03:04:00+00, "
        f"expected token 0, due never. Saga {done}.\n    http://127.0.0.1:8000/admin/sagas/sagainstance/{done}/change/\n"
    ) in out.getvalue()


def test_a_database_that_cannot_be_asked_is_no_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(scope: object) -> None:
        raise OperationalError("connection refused\nIs the server running?")

    monkeypatch.setattr("sagas.management.commands.audit.audit", away)

    with pytest.raises(CommandError, match=r"^The database cannot be asked now\. \(connection refused\)$") as failed:
        call_command("audit")

    assert failed.value.returncode == 3


def test_the_command_writes_json_and_nothing_else_to_its_output(sagas: dict[str, SagaInstance]) -> None:
    execute(f"UPDATE sagas_sagastep SET due_at = '2026-01-02 03:04+00' {step('pay')}", saga=sagas["done"].pk)
    out = StringIO()

    with pytest.raises(CommandError):
        call_command("audit", "--json", stdout=out)

    (violation,) = json.loads(out.getvalue())["violations"]
    assert violation == {
        "rule": "A saga that has ended has no lease and no timer.",
        "subject": "pay",
        "found": "token 0, due 2026-01-02 03:04:00+00",
        "expected": "token 0, due never",
        "saga": str(sagas["done"].pk),
        "link": f"/admin/sagas/sagainstance/{sagas['done'].pk}/change/",
    }


def test_an_orphaned_signal_is_listed_and_is_no_violation(sagas: dict[str, SagaInstance]) -> None:
    Signal.objects.create(
        definition="test.trip", business_key="done", name="news", dedup_id="1", payload={}, received_at=now()
    )

    report = audit()

    assert report.violations == ()
    assert [(orphan.subject, orphan.saga) for orphan in report.orphans] == [("news for done", sagas["done"].pk)]
    assert "1 orphan; nothing is wrong, but somebody should know:" in command()


def test_a_signal_whose_saga_does_not_come_is_an_orphan_after_a_day(world: World) -> None:
    signal(Return, "nobody", parcel_back, Parcel(3), dedup_id="young")
    assert audit().orphans == ()
    Signal.objects.update(received_at=now() - timedelta(hours=25))

    for scope in (None, scope_of_next()):
        report = audit(scope)
        assert report.violations == ()
        assert [orphan.subject for orphan in report.orphans] == ["parcel_back for test.return nobody"]

    begin_return("nobody")
    assert audit().orphans == ()


def test_what_could_not_be_looked_at_is_said_and_does_not_pass_for_clean(
    sagas: dict[str, SagaInstance], monkeypatch: pytest.MonkeyPatch
) -> None:
    SagaInstance.objects.filter(pk=sagas["waiting"].pk).delete()
    SagaInstance.objects.filter(pk=sagas["moving"].pk).delete()
    execute(f"DELETE FROM sagas_sagastep {step('reserve_hotel')}", saga=sagas["done"].pk)
    execute(f"DELETE FROM sagas_sagaevent {event('reserve_hotel', 'action', 'SUCCEEDED')}", saga=sagas["done"].pk)
    assert [violation.subject for violation in audit().violations] == ["reserve_hotel"]
    monkeypatch.delitem(registry, ("test.trip", 1))

    report = audit()

    assert (report.violations, report.orphans) == ((), ())
    assert [(unseen.subject, unseen.found) for unseen in report.unseen] == [("test.trip version 1", "2 sagas")]
    assert command().endswith(
        "Not everything could be looked at:\n"
        "  Sagas that ended or go backward are held against the plan of their version. test.trip version 1: "
        "found 2 sagas, expected code with the plan of that version.\n"
        "Nothing is wrong in what was looked at.\n"
    )
    job = PeriodicJob(name="sagas.audit.audit_lately", last_result=report.to_json())
    assert outcome_of(job) == "nothing is wrong in what was looked at, which is not everything"


def test_of_one_rule_a_hundred_rows_are_listed(world: World) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sagas_semanticlock (resource_type, resource_id, saga_id, taken_at) "
            "SELECT 'trip', n, NULL, now() FROM generate_series(1, 250) n"
        )

    assert len(audit().violations) == 100


def test_the_last_report_is_shown_to_operators_and_only_to_those_who_may_see_it(sagas: dict[str, SagaInstance]) -> None:
    execute(f"UPDATE sagas_sagastep SET due_at = now() {step('pay')}", saga=sagas["done"].pk)
    PeriodicJob.objects.create(
        name="sagas.audit.audit_lately", last_started_at=now(), last_ended_at=now(), last_result=audit().to_json()
    )
    page = "/admin/sagas/periodicjob/sagas.audit.audit_5Flately/change/"

    as_viewer = client_of(staff("vera", "view_periodicjob"))

    assert "1 violations" in as_viewer.get("/admin/sagas/periodicjob/").content.decode()
    shown = as_viewer.get(page).content.decode()
    assert f'<a href="/admin/sagas/sagainstance/{sagas["done"].pk}/change/">pay</a>' in shown
    assert "A saga that has ended has no lease and no timer." in shown
    assert as_viewer.post(page, {"name": "x"}).status_code == 403
    assert client_of(staff("nobody")).get(page).status_code == 403
