"""What the page of a saga shows besides its plan: the picture, the timeline, the rows it touched, who waits, a file."""

import json
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import transaction
from django.utils.timezone import now

from sagas import services
from sagas.admin import touched
from sagas.admin.plan_graph import graph_of
from sagas.admin.touched import BusinessRow, register_rows
from sagas.models import Operation, SagaEvent, SagaInstance
from tests.sagas.operators import (
    Journey,
    TripData,
    bank_is_itself_again,
    client_of,
    drain,
    staff,
    text_of,
    trip,
    url,
    viewer,
)

__all__ = ["bank_is_itself_again", "viewer"]


def page_of(user: User, saga: SagaInstance, **query: Any) -> Any:
    return client_of(user).get(url("change", saga), query).context["page"]


def boxes(page: Any) -> dict[str, str]:
    """Each box of the picture with its mark and its word."""
    drawn = graph_of(page.places)
    return {
        "".join(line for _, line in box.lines): f"{box.mark} {box.word}{' here' if box.here else ''}"
        for box in [*drawn.forward, *drawn.back]
    }


def test_the_picture_says_with_marks_and_words_what_is_done_where_it_is_and_what_is_to_come(viewer: User) -> None:
    assert boxes(page_of(viewer, trip("down"))) == {
        "reserve_seat": "✓ Succeeded",
        "note_traveller": "✓ Succeeded",
        "pay": "◷ Waiting here",
        "issue_ticket": "○ To come",
        "send_ticket": "○ To come",
        "release_seat": "– Not needed",
        "pay_back": "– Not needed",
    }


def test_the_picture_of_a_way_back_says_what_was_undone(viewer: User) -> None:
    drawn = boxes(page_of(viewer, trip("no")))

    assert (drawn["pay"], drawn["release_seat"], drawn["pay_back"]) == ("✕ Failed", "↩ Succeeded", "– Not needed")
    assert drawn["issue_ticket"] == "○ Never ran"


def test_an_arrow_is_drawn_through_where_the_saga_went(viewer: User) -> None:
    saga = trip("down")
    saga.steps.filter(name="pay").update(action="SUCCEEDED", compensation="FAILED")
    saga.steps.filter(name="reserve_seat").update(compensation="PENDING")
    SagaInstance.objects.filter(pk=saga.pk).update(backward=True)

    *forward, back = graph_of(page_of(viewer, saga).places).arrows

    assert [arrow.gone for arrow in forward] == [True, False, False]
    assert back.end < back.start
    assert not back.gone  # the failed compensation is where it stands, the one before is still to come


def test_the_picture_has_the_pivot_before_the_line_and_parallel_steps_in_one_column(viewer: User) -> None:
    drawn = graph_of(page_of(viewer, trip("down")).places)
    at = {"".join(line for _, line in box.lines): box for box in drawn.forward}

    assert at["note_traveller"].x == at["pay"].x
    assert at["note_traveller"].y + at["note_traveller"].height < at["pay"].y
    assert drawn.line is not None
    assert at["issue_ticket"].x + at["issue_ticket"].width < drawn.line < at["send_ticket"].x
    assert [box.pivot for box in drawn.forward] == [False, False, False, True, False]
    assert len(drawn.frames) == 1


def test_the_picture_is_told_to_those_who_do_not_see_it(viewer: User) -> None:
    text = text_of(client_of(viewer).get(url("change", trip("down"))))

    assert (
        'role="img" aria-label="Forward: reserve_seat succeeded, in parallel note_traveller succeeded and pay waiting, '
        "issue_ticket pending (the point of no return), send_ticket pending. "
        'Way back: pay_back not needed, release_seat not needed."'
    ) in " ".join(text.split())


def test_a_plan_that_is_gone_is_drawn_as_far_as_it_went(viewer: User) -> None:
    saga = trip("down")
    SagaInstance.objects.filter(pk=saga.pk).update(definition="tests.forgotten")

    assert list(boxes(page_of(viewer, saga))) == ["reserve_seat", "note_traveller", "pay"]


def test_the_timeline_has_a_row_for_each_side_of_a_step_and_a_bar_for_each_attempt(viewer: User) -> None:
    saga = trip("down")

    line = page_of(viewer, saga).timeline

    assert [row.label for row in line.rows] == ["reserve_seat", "note_traveller", "pay"]
    assert [[bar.mark for bar in row.bars] for row in line.rows] == [["✓"], ["✓"], ["◷"]]
    (pause,) = line.rows[2].waits
    assert pause[1] == line.ticks[-1][0]  # it waits until now
    assert "pay, attempt 1: transient" in line.words


def test_the_newest_attempts_and_events_are_shown_until_more_are_asked_for(viewer: User) -> None:
    saga = trip("down")
    event = saga.events.order_by("-id").first()
    for _ in range(25):
        event.pk = None
        event.save()

    first, whole = page_of(viewer, saga), page_of(viewer, saga, history="whole")

    assert (len(first.events), first.more_events) == (20, True)
    assert (len(whole.events), whole.more_events) == (SagaEvent.objects.filter(saga=saga).count(), False)
    text = text_of(client_of(viewer).get(url("change", saga), {"history": "whole"}))
    assert f"?seen={saga.version}&history=whole" in text


def test_the_page_of_a_saga_that_stands_still_is_asked_for_again_more_slowly(viewer: User) -> None:
    saga = trip("no stamp")
    assert saga.status == "SUSPENDED"

    page = page_of(viewer, saga)

    assert (page.live, page.seconds) == (True, 10)
    assert client_of(viewer).get(url("live", saga), {"seen": saga.version}).status_code == 204


# --- the rows it touched --------------------------------------------------------------------------


@pytest.fixture
def rows_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if travellers were users."""
    monkeypatch.setattr(touched, "_registered", {})

    def find(references: list[str]) -> list[BusinessRow]:
        found = User.objects.filter(username__in=references)
        return [BusinessRow(user.username, f"/users/{user.pk}/", "active", user.first_name) for user in found]

    register_rows(User, find)


def test_the_rows_a_saga_names_are_shown_as_they_are_now(rows_of_users: None, db: None) -> None:
    ada = User.objects.create(username="ada", first_name="Ada")
    saga, reader = trip("down"), staff("reader", "view_sagainstance", "view_user")
    ada.first_name = "Ada Augusta"
    ada.save()

    text = text_of(client_of(reader).get(url("change", saga)))

    assert f'<a href="/users/{ada.pk}/">ada</a> <strong>active</strong>' in text
    assert "Ada Augusta" in text


def test_rows_that_a_person_may_not_see_are_not_shown(rows_of_users: None, viewer: User) -> None:
    User.objects.create(username="ada", first_name="Ada")
    saga = trip("down")

    text = text_of(client_of(viewer).get(url("change", saga)))

    assert "You may not see it." in text
    assert "<strong>active</strong>" not in text


def test_of_a_table_without_any_row_of_the_saga_nobody_is_told_that_there_is_one(
    rows_of_users: None, viewer: User
) -> None:
    saga = trip("down")

    text = text_of(client_of(viewer).get(url("change", saga)))

    assert "You may not see it." not in text
    assert "No table knows anything that this saga names." in text


def test_a_saga_names_its_key_and_the_texts_and_numbers_of_its_data() -> None:
    data = {"order": "S-1", "parcel": 2, "gift": True, "lines": ["S-2"], "note": "", "key": "K"}

    assert touched.references_of(SagaInstance(business_key="K", data=data)) == ["K", "S-1", "2"]


# --- who waits, and the file ----------------------------------------------------------------------


def test_the_page_says_who_waits_for_a_lock_and_behind_whom(viewer: User) -> None:
    holder = trip("down")
    with transaction.atomic():
        second = services.start(Journey, TripData("ada"), key="second", on_conflict=services.OnConflict.WAIT)
    drain()
    second.refresh_from_db()

    before, behind = page_of(viewer, holder), page_of(viewer, second)

    assert [[saga.business_key for saga in lock.in_line] for lock in before.locks] == [["second"]]
    assert behind.waits_for.saga_id == holder.pk
    text = text_of(client_of(viewer).get(url("change", second)))
    assert f'<a href="{url("change", holder)}">tests.journey ada</a>' in text


def test_the_export_has_everything_and_no_secret(viewer: User) -> None:
    saga = trip("yes")
    receipt = {"intent_id": "pi_1", "client_secret": "pi_1_secret_abcdefgh", "mail": "ada@example.org"}
    saga.steps.filter(name="pay").update(receipt=receipt)
    Operation.objects.create(
        id=uuid4(), saga=saga, name="resolve", actor=viewer, reason="seen", detail={"receipt": receipt}, at=now(),
        status_before="SUSPENDED", status_after="RUNNING", version_after=2,
    )  # fmt: skip

    response = client_of(viewer).get(url("export", saga))

    document = json.loads(response.content)
    assert response.headers["Content-Disposition"] == f'attachment; filename="saga-{saga.pk}.json"'
    assert (document["key"], document["status"], document["data"]["traveller"]) == ("ada", "COMPLETED", "ada")
    assert document["receipts"]["pay"] == {"intent_id": "pi_1", "client_secret": "[secret]", "mail": "[e-mail]"}
    assert document["operations"][0]["detail"]["receipt"]["client_secret"] == "[secret]"
    assert b"pi_1_secret" not in response.content
    assert [step["name"] for step in document["steps"]] == [
        "reserve_seat",
        "note_traveller",
        "pay",
        "issue_ticket",
        "send_ticket",
    ]
    assert "pi_1_secret" not in text_of(client_of(viewer).get(url("change", saga)))


@pytest.mark.parametrize("where", ["page", "export", "API", "command"])
def test_what_people_did_is_told_without_secrets_wherever_it_is_read(viewer: User, where: str) -> None:
    saga = trip("down")
    receipt = {"intent_id": "pi_1", "client_secret": "abcdefgh"}
    SagaInstance.objects.filter(pk=saga.pk).update(attention="pi_1_secret_abcdefgh came late")
    Operation.objects.create(
        id=uuid4(), saga=saga, name="resolve", actor=viewer, reason="seen", detail={"receipt": receipt}, at=now(),
        status_before="SUSPENDED", status_after="RUNNING", version_after=2,
    )  # fmt: skip

    if where == "command":
        out = StringIO()
        call_command("sagas", "show", str(saga.pk), "--json", stdout=out)
        told = out.getvalue()
    else:
        address = (
            f"/api/v1/sagas/{saga.pk}/" if where == "API" else url("export" if where == "export" else "change", saga)
        )
        told = text_of(client_of(viewer).get(address))

    assert "[secret]" in told
    assert "intent_id" in told
    assert "abcdefgh" not in told


@pytest.mark.parametrize("name", ["change", "live", "export"])
def test_only_who_may_view_sagas_reads_one(db: None, name: str) -> None:
    saga = trip("down")

    assert client_of(staff("viewer", "view_sagainstance")).get(url(name, saga)).status_code == 200
    assert client_of(staff("nobody", "retry_saga")).get(url(name, saga)).status_code == 403
    assert client_of(None).get(url(name, saga)).status_code == 302
    assert client_of(staff("poster", "view_sagainstance")).post(url(name, saga)).status_code == 405
    assert Operation.objects.count() == 0
