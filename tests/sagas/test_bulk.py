"""Many sagas retried together: growing waves, a stop on the same failure, and rows that survive whoever drives them."""

import json
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from sagas import bulk, engine, operations
from sagas.models import Operation, SagaInstance
from sagas.operator_models import BulkRetry, DeniedOperation
from sagas.periodic import registry
from tests.racing import race
from tests.sagas.operators import (
    bank,
    bank_is_itself_again,
    by_root,
    client_of,
    drain,
    staff,
    start_trip,
    text_of,
)

__all__ = ["bank_is_itself_again"]

PERMISSIONS = ("view_sagainstance", "view_bulkretry", "retry_saga", "start_bulkretry")


@pytest.fixture
def grace(db: None) -> User:
    return staff("grace", *PERMISSIONS)


def stuck(count: int, answer: str = "down") -> list[SagaInstance]:
    """Trips that fail in the same way."""
    bank.answer = answer
    before = SagaInstance.objects.count()
    sagas = [start_trip(f"t{before + number}") for number in range(count)]
    drain()
    return sagas


def begin(user: User, sagas: list[SagaInstance], bulk_id: UUID | None = None) -> BulkRetry:
    return bulk.start(bulk_id or uuid4(), user, "the bank is up", [saga.pk for saga in sagas], chosen="all that failed")


def stand(begun: BulkRetry) -> dict[str, int]:
    begun.refresh_from_db()
    return {state: count for state, count in bulk.counts(begun).items() if count}


def look(begun: BulkRetry) -> dict[str, int]:
    """One look of the driver, then of the workers."""
    bulk.tick(begun.pk)
    drain()
    return stand(begun)


def test_it_goes_in_waves_of_1_then_5_then_25_then_the_rest(grace: User) -> None:
    sagas = stuck(40)
    begun = begin(grace, sagas)
    bank.answer = "yes"

    sizes = [look(begun).get("RUNNING", 0) for _ in range(4)]
    bulk.tick(begun.pk)

    assert sizes == [1, 5, 25, 9]
    assert stand(begun) == {"RECOVERED": 40}
    assert (begun.state, begun.ended_at is not None) == ("DONE", True)
    assert Operation.objects.filter(name="retry", actor=grace, reason="the bank is up").count() == 40
    assert SagaInstance.objects.filter(status="COMPLETED").count() == 40


def test_it_stops_when_the_same_failure_comes_back(grace: User) -> None:
    sagas = stuck(10)
    begun = begin(grace, sagas)

    look(begun)  # the first fails as before
    look(begun)

    assert stand(begun) == {"SAME": 1, "QUEUED": 9}
    assert (begun.state, begun.ended_at is not None) == ("STOPPED", True)
    assert begun.why.startswith("the same failure came back: pay: TRANSIENT the bank is down")
    assert Operation.objects.filter(name="retry").count() == 1


def test_another_failure_is_told_apart_and_does_not_stop_it(grace: User) -> None:
    begun = begin(grace, stuck(2))
    bank.answer = "lost"

    look(begun)
    bank.answer = "yes"
    look(begun)
    bulk.tick(begun.pk)

    assert stand(begun) == {"OTHER": 1, "RECOVERED": 1}
    assert begun.state == "DONE"


def test_what_cannot_be_retried_is_left_alone_with_the_reason(grace: User) -> None:
    done, paused = stuck(1, "yes")[0], stuck(1)[0]
    by_root(operations.pause, paused)
    begun = begin(grace, [done, paused])

    for _ in range(3):
        look(begun)

    assert stand(begun) == {"REFUSED": 2}
    assert list(begun.items.values_list("said", flat=True)) == [
        "The saga has ended: COMPLETED.",
        "The saga is paused; resume it.",
    ]


def test_while_no_worker_runs_it_waits_and_says_so(grace: User) -> None:
    begun = begin(grace, stuck(3))

    for _ in range(3):
        bulk.tick(begun.pk)

    assert stand(begun) == {"RUNNING": 1, "QUEUED": 2}
    assert begun.ended_at is None


def test_a_driver_that_dies_after_its_commit_is_followed_by_another(
    grace: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = begin(grace, stuck(2))
    bank.answer = "yes"
    with monkeypatch.context() as patch:
        patch.setattr(bulk, "_retry", die)
        with pytest.raises(KeyboardInterrupt):
            bulk.tick(begun.pk)
    assert stand(begun) == {"RUNNING": 1, "QUEUED": 1}, "chosen, and not retried"

    for _ in range(3):
        look(begun)

    assert stand(begun) == {"RECOVERED": 2}
    assert Operation.objects.filter(name="retry").count() == 2


def die(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.django_db(transaction=True)
def test_two_drivers_at_once_retry_each_saga_once() -> None:
    grace = staff("grace", *PERMISSIONS)
    begun = begin(grace, stuck(7))
    bank.answer = "yes"

    for _ in range(5):
        assert race([lambda: bulk.tick(begun.pk)] * 3) == [None] * 3
        drain()

    bulk.tick(begun.pk)
    assert stand(begun) == {"RECOVERED": 7}
    assert Operation.objects.filter(name="retry").count() == 7


def test_a_double_click_is_one_bulk_retry(grace: User) -> None:
    sagas, bulk_id = stuck(2), uuid4()

    assert begin(grace, sagas, bulk_id) == begin(grace, sagas, bulk_id)

    assert BulkRetry.objects.get().items.count() == 2


def test_it_needs_its_permission_a_reason_and_a_bounded_number(grace: User) -> None:
    sagas = stuck(1)
    viewer = staff("victor", "view_sagainstance", "retry_saga")

    with pytest.raises(PermissionDenied):
        begin(viewer, sagas)
    with pytest.raises(ValueError, match="Say why"):
        bulk.start(uuid4(), grace, " ", [sagas[0].pk], chosen="")
    with pytest.raises(ValueError, match="At most 1000 sagas"):
        bulk.start(uuid4(), grace, "x", [uuid4() for _ in range(1001)], chosen="")
    with pytest.raises(ValueError, match="None of these sagas is there"):
        bulk.start(uuid4(), grace, "x", [uuid4()], chosen="")

    assert not BulkRetry.objects.exists()
    assert DeniedOperation.objects.get().actor == viewer


def test_who_may_no_longer_retry_stops_it(grace: User) -> None:
    begun = begin(grace, stuck(2))
    grace.user_permissions.remove(Permission.objects.get(codename="retry_saga"))

    look(begun)
    look(begun)

    assert (begun.state, begun.why) == ("STOPPED", "grace: You may not retry sagas.")
    assert stand(begun) == {"QUEUED": 2}


def test_the_sweepers_drive_it() -> None:
    assert [job.every.total_seconds() for job in registry if job.function is bulk.drive_bulk_retries] == [2.0]


def test_the_driver_looks_at_every_open_one(grace: User) -> None:
    begun = begin(grace, stuck(1))
    bank.answer = "yes"

    assert bulk.drive_bulk_retries() == 1
    drain()
    bulk.drive_bulk_retries()

    assert stand(begun) == {"RECOVERED": 1}
    assert bulk.drive_bulk_retries() == 0


# --- in the admin, and from a terminal -----------------------------------------------------------------


def choose(client: Client, query: str = "", **words: Any) -> Any:
    address = reverse("admin:sagas_sagainstance_changelist") + query
    return client.post(address, {"action": "retry_together", "index": 0, "select_across": 0, **words})


def sent(response: Any, **changes: Any) -> dict[str, Any]:
    form = response.context["form"]
    return {**{name: form[name].value() for name in form.fields}, "reason": "the bank is up", **changes}


@pytest.fixture
def browser(grace: User) -> Client:
    return client_of(grace)


def test_ticked_sagas_are_retried_together_and_followed_on_a_page(browser: Client) -> None:
    first, second, third = stuck(3)
    asked = choose(browser, _selected_action=[str(first.pk), str(third.pk)])
    assert "Retry 2 sagas together" in text_of(asked)

    started = browser.post(reverse("admin:sagas_bulkretry_start"), sent(asked))
    begun = BulkRetry.objects.get()
    bank.answer = "yes"
    for _ in range(3):
        look(begun)

    assert started.url == reverse("admin:sagas_bulkretry_change", args=[begun.pk])
    page = text_of(browser.get(started.url))
    assert "Recovered: 2" in page
    assert "2 of 2 have come back, 0 are not tried yet." in page
    assert browser.get(reverse("admin:sagas_bulkretry_live", args=[begun.pk])).status_code == 286
    second.refresh_from_db()
    assert second.status == "WAITING"


@pytest.mark.parametrize("ticked", ["", "a\x00b", "no saga"])
def test_what_is_ticked_has_to_be_sagas(browser: Client, ticked: str) -> None:
    assert choose(browser, _selected_action=[ticked]).status_code == 400


def test_a_failure_group_is_retried_as_the_filter_leaves_it(browser: Client) -> None:
    alike = stuck(2)
    stuck(1, "lost")
    fingerprint = alike[0].attempts.exclude(fingerprint="").get().fingerprint

    asked = choose(browser, f"?fingerprint={fingerprint}", select_across=1, _selected_action=[str(alike[0].pk)])

    form = asked.context["form"]
    assert {UUID(pk) for pk in form["sagas"].value().split(",")} == {saga.pk for saga in alike}
    assert form["chosen"].value() == f"all with fingerprint {fingerprint}"


@pytest.mark.parametrize(("changes", "why"), [({"reason": ""}, "required"), ({"sagas": "x"}, "not a list of sagas")])
def test_what_is_missing_is_named_and_nothing_begins(browser: Client, changes: dict[str, str], why: str) -> None:
    asked = choose(browser, _selected_action=[str(stuck(1)[0].pk)])

    answered = browser.post(reverse("admin:sagas_bulkretry_start"), sent(asked, **changes))

    assert answered.status_code == 400
    assert why in text_of(answered)
    assert not BulkRetry.objects.exists()


def test_a_person_can_stop_it(browser: Client, grace: User) -> None:
    begun = begin(grace, stuck(3))
    look(begun)

    browser.post(reverse("admin:sagas_bulkretry_stop", args=[begun.pk]))
    bank.answer = "yes"
    look(begun)

    assert (begun.state, begun.why) == ("STOPPED", "grace stopped it")
    assert stand(begun)["QUEUED"] == 2


def test_who_may_not_retry_many_can_neither_start_nor_stop(grace: User) -> None:
    begun, client = begin(grace, stuck(1)), client_of(staff("vera", "view_sagainstance", "view_bulkretry"))

    assert "retry_together" not in text_of(client.get(reverse("admin:sagas_sagainstance_changelist")))
    for name, args in (("start", []), ("stop", [begun.pk])):
        assert client.post(reverse(f"admin:sagas_bulkretry_{name}", args=args)).status_code == 403

    assert BulkRetry.objects.get().state == "RUNNING"
    assert list(DeniedOperation.objects.order_by("id").values_list("name", flat=True)) == [
        "start bulk retry",
        "stop bulk retry",
    ]


def test_from_a_terminal_it_is_followed_to_its_end(grace: User, monkeypatch: pytest.MonkeyPatch) -> None:
    sagas = stuck(2)
    fingerprint = sagas[0].attempts.exclude(fingerprint="").get().fingerprint
    monkeypatch.setattr("sagas.management.commands.sagas.sleep", lambda seconds: drain())
    words = ["bulk", "--actor", "grace", "--reason", "the bank is up", "--fingerprint", fingerprint, "--json"]

    with pytest.raises(CommandError, match="the same failure came back"):
        call_command("sagas", *words, stdout=StringIO())
    bank.answer = "yes"
    out = StringIO()
    call_command("sagas", *words, stdout=out)

    told = json.loads(out.getvalue())
    assert (told["state"], told["sagas"]["RECOVERED"]) == ("DONE", 2)


def test_from_a_terminal_a_choice_that_fits_no_live_saga_is_told_back(grace: User) -> None:
    words = ["bulk", "--actor", "grace", "--reason", "the bank is up", "--fingerprint", "0f", "--status", "WAITING"]

    with pytest.raises(CommandError, match=r"^There is no live saga with fingerprint 0f, status WAITING\.$"):
        call_command("sagas", *words, stdout=StringIO())


def test_what_is_suspended_again_and_no_attempt_tells_why_ends_it(grace: User) -> None:
    """As when a constraint refuses what the saga writes, or its step kills the worker."""
    sagas = stuck(3)
    begun = begin(grace, sagas)
    bulk.tick(begun.pk)
    (retried,) = Operation.objects.filter(name="retry").values_list("saga_id", flat=True)
    engine._set_aside(retried, ValueError("what the rows refuse"))

    bulk.tick(begun.pk)

    assert begun.items.get(saga_id=retried).state == "OTHER"
    assert begun.items.get(saga_id=retried).said == "the saga is suspended again: CONTRACT_VIOLATION"
    assert stand(begun) == {"OTHER": 1, "RUNNING": 2}, "the next wave"


def test_once_it_is_stopped_no_further_saga_of_its_wave_is_retried(
    grace: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    sagas = stuck(6)
    begun = begin(grace, sagas)
    bank.answer = "yes"
    look(begun)
    retry, retried = operations.retry, []

    def stop_after_two(saga_id: UUID, request: operations.Request) -> Operation:
        retried.append(saga_id)
        if len(retried) == 2:
            bulk.stop(begun.pk, staff("stella", *PERMISSIONS, "stop_bulkretry"))
        return retry(saga_id, request)

    monkeypatch.setattr(operations, "retry", stop_after_two)

    bulk.tick(begun.pk)

    assert len(retried) == 2, "of a wave of five"
