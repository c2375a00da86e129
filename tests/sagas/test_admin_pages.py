"""The saga list and the page of one saga."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from sagas import services
from sagas.admin.paging import BoundedPaginator
from sagas.models import SagaInstance
from tests.sagas.operators import (
    MARKUP,
    Journey,
    TripData,
    answers,
    bank,
    bank_is_itself_again,
    client_of,
    drain,
    operator,
    staff,
    start_trip,
    text_of,
    trip,
    url,
    viewer,
)

__all__ = ["bank_is_itself_again", "operator", "viewer"]

LIST = "/admin/sagas/sagainstance/"


def rows(response: Any) -> list[str]:
    return [saga.business_key for saga in response.context["cl"].result_list]


def queries(client: Any, address: str, seen: int = 0, status: int = 200) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address, {"seen": seen} if seen else None).status_code == status
    return len(captured)


def test_the_list_shows_the_newest_first_with_why_it_waits(viewer: User) -> None:
    trip("yes", "ada")
    trip("down", "grace")

    response = client_of(viewer).get(LIST)

    assert rows(response) == ["grace", "ada"]
    assert "Pauses before it tries pay again" in text_of(response)
    assert "Waiting</span>" in text_of(response)
    assert "Completed</span>" in text_of(response)


def test_the_list_asks_no_query_per_row(viewer: User) -> None:
    client = client_of(viewer)
    start_trip("t0")
    with_one = queries(client, LIST)

    for number in range(1, 6):
        trip("down", f"stuck {number}")
    for number in range(1, 6):
        start_trip(f"new {number}")  # to say where it is, its steps are read

    assert queries(client, LIST) == with_one
    assert with_one <= 8


@pytest.mark.parametrize("term", ["S-7KQ2", "s-7kq2", "S-7KQ2MX4D"])
def test_a_saga_is_found_by_the_beginning_of_its_key(viewer: User, term: str) -> None:
    start_trip("S-7KQ2MX4D")
    start_trip("S-99999999")

    assert rows(client_of(viewer).get(LIST, {"q": term})) == ["S-7KQ2MX4D"]


def test_a_saga_is_found_by_its_id(viewer: User) -> None:
    start_trip("ada")
    saga = start_trip("grace")

    assert rows(client_of(viewer).get(LIST, {"q": str(saga.pk)})) == ["grace"]


def test_the_filters_keep_what_they_name(viewer: User) -> None:
    client = client_of(viewer)
    trip("yes", "done")
    trip("down", "waits")
    stuck = trip("yes", "stuck")
    SagaInstance.objects.filter(pk=stuck.pk).update(attention="look at me")

    assert rows(client.get(LIST, {"status": "COMPLETED"})) == ["stuck", "done"]
    assert rows(client.get(LIST, {"status": "LIVE"})) == ["waits"]
    assert rows(client.get(LIST, {"person": "yes"})) == ["stuck"]
    assert rows(client.get(LIST, {"definition": "tests.journey"})) == ["stuck", "waits", "done"]
    assert rows(client.get(LIST, {"definition": "no.such"})) == []
    assert rows(client.get(LIST, {"started": "hour"})) == ["stuck", "waits", "done"]
    assert rows(client.get(LIST, {"started": "older"})) == []


def test_a_long_list_is_counted_only_up_to_a_bound(viewer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedPaginator, "bound", 2)
    for traveller in ("a", "b", "c"):
        start_trip(traveller)

    with CaptureQueriesContext(connection) as captured:
        response = client_of(viewer).get(LIST)

    assert "More than 2 sagas" in text_of(response)
    counts = [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    assert len(counts) == 1
    assert "LIMIT 3" in counts[0]


def test_the_page_shows_every_step_with_both_statuses(viewer: User) -> None:
    saga = trip("down")

    page = client_of(viewer).get(url("change", saga)).context["page"]

    assert [[step.name for step in place.steps] for place in page.places] == [
        ["reserve_seat"],
        ["note_traveller", "pay"],
        ["issue_ticket"],
        ["send_ticket"],
    ]
    pay = page.places[1].steps[1]
    assert "Waiting" in pay.action
    assert "Not needed" in pay.compensation
    assert (pay.compensation_name, pay.kind, pay.current) == ("pay_back", "compensatable", True)
    assert pay.action_notes == ["1 attempt", "1 of 8 tries used"]
    assert page.places[0].steps[0].receipt == '{\n  "number": "12A"\n}'
    assert page.places[2].pivot
    assert page.places[3].steps[0].action_notes == ["still to come"]


def test_the_page_says_who_holds_what_and_what_was_tried(viewer: User) -> None:
    saga = trip("down")

    text = text_of(client_of(viewer).get(url("change", saga)))

    assert "tests.traveller ada" in text
    assert "Pauses before it tries pay again" in text
    assert f"{saga.pk}:pay:action" in text
    assert "Transient" in text


def test_the_way_back_is_shown(viewer: User) -> None:
    saga = trip("no")

    page = client_of(viewer).get(url("change", saga)).context["page"]

    assert saga.status == "COMPENSATED"
    assert "↩" in page.places[0].steps[0].compensation
    assert page.places[1].steps[1].action_notes == ["1 attempt"]
    assert page.places[3].steps[0].action_notes == ["never ran"]
    assert page.saga.failure["code"] == "card_declined"


@pytest.mark.parametrize("answer", ["no", "down", "lost", "bug"])
def test_markup_in_what_others_say_is_shown_as_text(viewer: User, answer: str) -> None:
    saga = trip(answer, f"ada {MARKUP}")
    client = client_of(viewer)

    for address in (LIST, url("change", saga), url("live", saga), reverse("admin:sagas_semanticlock_changelist")):
        text = text_of(client.get(address))
        assert MARKUP not in text
    assert "&lt;script&gt;" in text_of(client.get(url("change", saga)))


def test_a_moving_saga_is_asked_for_again_and_a_resting_one_is_not(viewer: User) -> None:
    client = client_of(viewer)
    saga = trip("down")
    live = url("live", saga)

    assert f'hx-get="{live}?seen={saga.version}"' in text_of(client.get(url("change", saga)))
    assert queries(client, live, saga.version, 204) == 5  # session, user, twice permissions, saga
    assert client.get(live, {"seen": saga.version - 1}).status_code == 200

    saga.steps.filter(name="pay").update(due_at=now())
    SagaInstance.objects.filter(pk=saga.pk).update(wake_at=now())
    bank.answer = "yes"
    drain()

    ended = client.get(live, {"seen": saga.version})
    assert ended.status_code == 286
    assert "hx-get" not in text_of(ended)


def test_the_page_has_no_script_or_style_in_it(viewer: User) -> None:
    text = text_of(client_of(viewer).get(url("change", trip("down"))))

    assert "<style" not in text
    assert " style=" not in text
    assert "<script>" not in text
    assert " onclick=" not in text


def test_a_saga_whose_plan_is_gone_shows_what_it_touched(viewer: User) -> None:
    saga = trip("down")
    SagaInstance.objects.filter(pk=saga.pk).update(definition="tests.forgotten")

    response = client_of(viewer).get(url("change", saga))

    assert [place.steps[0].name for place in response.context["page"].places] == [
        "reserve_seat",
        "note_traveller",
        "pay",
    ]
    assert "has no plan that continues this saga" in text_of(response)


@pytest.mark.parametrize("name", ["add", "delete", "change"])
def test_nobody_writes_a_saga_through_a_form(db: None, name: str) -> None:
    root = User.objects.create_superuser("root")
    saga = trip("down")
    address = f"{LIST}add/" if name == "add" else url(name, saga)

    assert client_of(root).post(address, {"status": "COMPLETED"}).status_code in (403, 405)
    saga.refresh_from_db()
    assert saga.status == "WAITING"


def test_a_saga_that_is_not_there_is_404(viewer: User) -> None:
    client = client_of(viewer)

    assert client.get(f"{LIST}0191b3c4-0000-7000-8000-000000000000/change/").status_code == 404
    assert client.get(f"{LIST}nonsense/change/").status_code == 404


def test_without_permission_no_page_is_shown(db: None) -> None:
    saga = trip("down")
    nobody = client_of(staff("nobody"))

    for address in (LIST, url("change", saga), url("live", saga)):
        assert nobody.get(address).status_code == 403
        assert client_of(None).get(address).status_code == 302


def test_the_lock_list_says_who_holds_what(db: None) -> None:
    saga = trip("down")

    text = text_of(client_of(staff("v", "view_semanticlock")).get(reverse("admin:sagas_semanticlock_changelist")))

    assert "tests.traveller ada" in text
    assert url("change", saga) in text


def locks_seen_by(*permissions: str) -> str:
    viewer = staff("v", "view_semanticlock", *permissions)
    return text_of(client_of(viewer).get(reverse("admin:sagas_semanticlock_changelist")))


def test_the_lock_list_says_who_is_in_line_and_leads_whoever_may_to_the_release(db: None) -> None:
    saga = trip("down")
    with transaction.atomic():
        services.start(Journey, TripData("ada"), key="second", on_conflict=services.OnConflict.WAIT)

    text = locks_seen_by("release_saga")

    assert '<td class="field-in_line">second</td>' in text
    assert f'href="{url("release", saga)}?lock=tests.traveller+ada"' in text


def test_the_lock_list_offers_no_release_to_others(db: None) -> None:
    trip("down")

    assert "Release…" not in locks_seen_by("pause_saga")


def test_the_page_that_asks_to_release_names_the_lock_and_why_not_now(operator: User) -> None:
    saga = trip("down")
    address, client = f"{url('release', saga)}?lock=tests.traveller+ada", client_of(operator)

    moving = text_of(client.get(address))
    client.post(url("pause", saga), answers(saga))
    resting = client.get(address)

    assert "The saga moves and relies on its locks; pause it first." in moving
    assert resting.context["target"] == "tests.traveller ada"
    assert 'name="lock" value="tests.traveller ada"' in text_of(resting)


@pytest.mark.parametrize("name", ["change", "export", "retry", "edit"])
def test_what_was_stored_nested_too_deep_is_shown_cut_with_a_note(operator: User, name: str) -> None:
    saga, deep = trip("down"), "leaf"
    for _ in range(600):
        deep = [deep]  # type: ignore[assignment]
    SagaInstance.objects.filter(pk=saga.pk).update(data={"traveller": "ada", "wish": deep})
    saga.steps.filter(name="reserve_seat").update(receipt={"number": deep})

    shown = client_of(operator).get(url(name, saga))

    assert shown.status_code == 200
    if name in ("change", "export"):
        assert text_of(shown).count("nested deeper than 50 levels") == 2


@pytest.mark.parametrize(("levels", "status"), [(300, 409), (5_000, 400)])
def test_data_that_is_nested_too_deep_is_refused(operator: User, levels: int, status: int) -> None:
    saga = trip("down")
    payload = '{"traveller": "ada", "wish": ' + "[" * levels + "]" * levels + "}"

    refused = client_of(operator).post(url("edit", saga), answers(saga, payload=payload))

    assert refused.status_code == status
    saga.refresh_from_db()
    assert saga.data == {"traveller": "ada", "wish": ""}
