"""The lists of sagas and orders when there are many of them."""

import pytest

from tests.plans_of_lists import fill, plans, reads

pytestmark = pytest.mark.django_db


@pytest.fixture
def many() -> None:
    fill(
        "sagas_sagainstance",
        "id, definition, definition_version, business_key, data, status, backward, pivot_passed, generation, version,"
        " suspend_reason, attention, blocked_on, stalls, created_at, updated_at, ended_at",
        "gen_random_uuid(), 'shop.checkout', 1, 'S-' || lpad(n::text, 6, '0'), '{}', 'COMPLETED', false, true, 1, 9,"
        " '', '', '', 0, now(), now(), now()",
    )


@pytest.mark.parametrize(
    "query", ["q=S-000077", "q=s-000077", "status=LIVE", "person=yes", "definition=no.such", "started=hour"]
)
def test_what_is_asked_of_the_sagas_is_found_by_an_index(admin_client, many, query):
    plan = plans(admin_client, f"/admin/sagas/sagainstance/?{query}", "sagas_sagainstance")

    assert "Seq Scan" not in plan
    assert "Index" in plan


def test_a_beginning_that_fits_every_row_is_looked_up_in_the_order_of_its_index(admin_client, many):
    statements = reads(admin_client, "/admin/sagas/sagainstance/?q=S-", "sagas_sagainstance")

    assert [sql for sql in statements if "LIMIT" not in sql] == []
    assert 'ORDER BY "sagas_sagainstance"."business_key" USING ~<~ /* ASC */ LIMIT 1001' in statements[0]
    plan = plans(admin_client, "/admin/sagas/sagainstance/?q=S-", "sagas_sagainstance")
    assert "saga_by_key" in plan
    assert "Sort Key: business_key" not in plan


def test_of_many_fitting_sagas_as_many_are_shown_as_are_counted(admin_client, many):
    page = admin_client.get("/admin/sagas/sagainstance/", {"q": "s-"})

    assert page.context["cl"].result_count == 1_000
    assert "More than 1,000 sagas: search or filter" in page.content.decode()
