"""Flows, events and dead letters in the admin: what is shown, to whom, and from which index."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import Client
from playwright.sync_api import Page, expect

from sagas.choreography.models import OutboxEvent
from sagas.choreography.outbox import publish
from sagas.models import Operation, SagaInstance
from tests.plans_of_lists import fill, plans
from tests.sagas.choreography.bakery import Note, Oven, effects, take_order
from tests.sagas.conftest import run
from tests.sagas.operators import staff
from tests.sagas.test_admin_browser import Axe, complaints, page

FLOW = "/admin/sagas/outboxevent/flow/"
LISTS = ("/admin/sagas/outboxevent/", "/admin/sagas/flowrun/", "/admin/sagas/deadletter/")


__all__ = ["complaints", "page"]


def login(*permissions: str) -> Client:
    client = Client()
    client.force_login(staff(f"someone{uuid4().hex[:6]}", *permissions))
    return client


@pytest.fixture
def letter(oven: Oven) -> SagaInstance:
    def burn() -> None:
        raise RuntimeError("poison of ada@example.org")

    oven.accidents["read_note"] = [burn] * 3
    with transaction.atomic():
        publish(Note(1), subject="N-<1>")
    run()
    return SagaInstance.objects.get(status="SUSPENDED")


def test_the_page_of_a_flow_draws_its_stations_and_tells_every_cause() -> None:
    take_order("B-1", 11)
    run()

    page = login("view_sagainstance").get(FLOW, {"subject": "B-1"}).content.decode()

    assert "shop bread ordered came;" in page
    assert "bakery bread baked refused;" in page
    assert "◀ bread refused" in page
    assert "bill bill sent will not come." in page
    assert "The flow has ended. Every effect is undone. there is no bread" in page
    assert "because of the one above, level 1:" in page
    assert 'http-equiv="refresh"' not in page


def test_a_flow_under_way_refreshes_itself() -> None:
    take_order("B-1", 2)

    page = login("view_sagainstance").get(FLOW, {"subject": "B-1"}).content.decode()

    assert 'http-equiv="refresh"' in page
    assert "shop.bread_ordered has not been carried yet." in page


def test_a_subject_of_which_nothing_was_told_is_not_found() -> None:
    assert login("view_sagainstance").get(FLOW, {"subject": "B-2"}).status_code == 404
    assert login("view_sagainstance").get(FLOW).status_code == 404


@pytest.mark.parametrize("address", [FLOW + "?subject=N-%3C1%3E", *LISTS])
def test_only_who_may_see_sagas_sees_them(letter: SagaInstance, address: str) -> None:
    assert Client().get(address).status_code == 302
    assert login().get(address).status_code == 403
    assert login("view_sagainstance").get(address).status_code == 200


def test_a_dead_letter_is_listed_with_the_ways_out_for_those_who_may_go_them(letter: SagaInstance) -> None:
    seen = login("view_sagainstance").get(LISTS[2]).content.decode()
    offered = login("view_sagainstance", "retry_saga").get(LISTS[2]).content.decode()

    assert "read_note" in seen
    assert "N-&lt;1&gt;" in seen
    assert "poison of [e-mail]" in seen
    assert "Discard…" not in seen
    assert f'href="/admin/sagas/sagainstance/{letter.pk}/retry/">Retry…' in offered


def test_a_dead_letter_is_discarded_with_a_reason_and_is_in_the_audit_log(letter: SagaInstance) -> None:
    address = f"/admin/sagas/sagainstance/{letter.pk}/abandon/"
    form = {"reason": "the note is gibberish", "version": letter.version, "action_id": str(uuid4())}

    assert login("view_sagainstance").post(address, form).status_code == 403
    letter.refresh_from_db()
    assert letter.status == "SUSPENDED"

    asked = login("view_sagainstance", "abandon_saga").get(address).context["form"]
    form = {name: field.initial for name, field in asked.fields.items()} | asked.initial | {"reason": "gibberish"}
    login("view_sagainstance", "abandon_saga").post(address, form)
    letter.refresh_from_db()
    assert letter.status == "ABANDONED"
    assert Operation.objects.get().reason == "gibberish"
    assert effects("N-<1>") == []


def test_what_is_not_carried_can_be_listed() -> None:
    take_order("B-1", 2)

    listed = login("view_sagainstance").get(LISTS[0], {"due": "yes"}).content.decode()

    assert "shop.bread_ordered" in listed
    run()
    assert login("view_sagainstance").get(LISTS[0], {"due": "yes"}).context["cl"].result_count == 0


@pytest.mark.parametrize("query", ["", "?q=s7", "?due=yes", "?type=shop.note"])
def test_the_list_of_events_has_an_index_for_every_question(query: str) -> None:
    fill(
        "sagas_outboxevent",
        "event_id, type, source, subject, time, data, correlation_id, attempts, error",
        "gen_random_uuid(), 't' || n, '/t', 's' || n, now(), '{}', gen_random_uuid(), 0, ''",
    )

    plan = plans(login("view_sagainstance"), LISTS[0] + query, "sagas_outboxevent")

    assert "Seq Scan" not in plan


@pytest.mark.parametrize("address", [LISTS[1], LISTS[1] + "?person=yes", LISTS[2]])
def test_the_lists_of_flows_and_letters_have_one_too(address: str) -> None:
    fill(
        "sagas_sagainstance",
        "id, definition, definition_version, business_key, data, status, backward, pivot_passed, generation, version,"
        " suspend_reason, attention, blocked_on, stalls, created_at, updated_at, ended_at",
        "gen_random_uuid(), 'shop.checkout', 1, n::text, '{}', 'COMPLETED', false, true, 1, 9,"
        " '', '', '', 0, now(), now(), now()",
    )

    assert "Seq Scan" not in plans(login("view_sagainstance"), address, "sagas_sagainstance")


def test_a_page_asks_as_much_for_many_events_as_for_few(oven: Oven, django_assert_max_num_queries: Any) -> None:
    with transaction.atomic():
        for number in range(30):
            publish(Note(number), subject="N-1")
    for _ in range(30):
        run()
    assert OutboxEvent.objects.filter(due_at=None).count() == 30

    client = login("view_sagainstance")
    with django_assert_max_num_queries(12):
        assert client.get(FLOW, {"subject": "N-1"}).status_code == 200


def test_the_pages_can_be_read_by_everybody(page: Page, letter: SagaInstance) -> None:
    """In a browser: nothing overlaps the edge, the keyboard reaches the drawing, axe finds nothing."""
    take_order("B-1", 11)
    run()

    page.goto(f"{FLOW}?subject=B-1")
    expect(page.get_by_role("img", name="The events that are expected")).to_be_visible()
    for address in (f"{FLOW}?subject=B-1", LISTS[1], LISTS[2]):
        page.goto(address)
        found = Axe().run(page, context="#main")
        assert found.violations_count == 0, found.generate_report()
    page.get_by_role("link", name="N-<1>").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Flow of N-<1>")


def test_on_a_phone_only_the_drawing_of_a_flow_is_wider_than_the_screen(page: Page) -> None:
    take_order("B-1", 11)
    run()
    page.set_viewport_size({"width": 390, "height": 850})

    page.goto(f"{FLOW}?subject=B-1")
    expect(page.get_by_role("img", name="The events that are expected")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("width", [390, 1360])
def test_why_a_handler_waits_is_not_out_of_sight_in_the_list_of_sagas(page: Page, width: int) -> None:
    take_order("B-1", 11)
    run()
    page.set_viewport_size({"width": width, "height": 850})

    page.goto("/admin/sagas/sagainstance/")
    assert page.locator("#result_list .field-why").count() > 1
    assert page.evaluate("(box => box.scrollWidth <= box.clientWidth)(document.querySelector('.results'))")
