"""Sagas for staff: who sees them, what they tell, and the operations with their guards."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from sagas.models import Operation, SagaInstance
from shop.models import Product
from tests.api.conftest import fields_at_fault, place
from tests.sagas.operators import OPERATIONS, PERMISSIONS, client_of, text_of, url

# What each operation says besides the reason and the version.
WORDS: dict[str, dict[str, Any]] = {
    "edit": {"payload": {"order_number": "X"}},
    "resolve": {"step": "authorize_payment", "happened": False},
    "confirm": {"step": "authorize_payment"},
    "reschedule": {"step": "authorize_payment", "at": None},
    "skip": {"step": "authorize_payment"},
    "waive": {"step": "authorize_payment"},
    "release": {"lock": "shop.order X"},
}


def allow(user: User, *codenames: str) -> User:
    user.is_staff = True
    user.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def saga(mug: Product) -> SagaInstance:
    """The checkout of an order that nobody has worked on yet."""
    return SagaInstance.objects.get(pk=place(APIClient()).json()["saga"])


@pytest.fixture
def operator(api: APIClient, grace: User) -> User:
    user = allow(grace, "view_sagainstance", *PERMISSIONS.values())
    api.force_authenticate(user)
    return user


def operate(api: APIClient, saga: SagaInstance, name: str, **body: Any) -> Any:
    said = {"reason": "Because.", "version": saga.version, "wait_seconds": 0, **WORDS.get(name, {}), **body}
    return api.post(f"/api/v1/sagas/{saga.id}/{name}/", said, format="json")


def test_only_staff_with_the_permission_see_sagas(api: APIClient, saga: SagaInstance, grace: User) -> None:
    address = f"/api/v1/sagas/{saga.id}/"

    as_guest = [api.get("/api/v1/sagas/").status_code, api.get(address).status_code]
    api.force_authenticate(grace)
    as_customer = [api.get("/api/v1/sagas/").status_code, api.get(address).status_code]
    api.force_authenticate(allow(grace))
    as_staff = [api.get("/api/v1/sagas/").status_code, api.get(address).status_code]
    viewer = allow(grace, "view_sagainstance")
    api.force_authenticate(viewer)
    as_viewer = [api.get("/api/v1/sagas/").status_code, api.get(address).status_code]
    viewer.is_staff = False
    as_former_staff = [api.get("/api/v1/sagas/").status_code, api.get(address).status_code]

    assert as_guest == [401, 401]
    assert as_customer == as_staff == as_former_staff == [403, 403]
    assert as_viewer == [200, 200]


def test_the_list_can_be_filtered(api: APIClient, saga: SagaInstance, operator: User) -> None:
    def keys(query: str) -> list[str]:
        return [row["key"] for row in api.get(f"/api/v1/sagas/?{query}").json()["results"]]

    number = saga.business_key
    assert keys("") == keys("status=PENDING") == keys("definition=shop.checkout") == keys(f"key={number}") == [number]
    assert keys("status=COMPLETED") == keys("definition=shop.other") == keys(f"key={number[:-1]}") == []
    assert fields_at_fault(api.get("/api/v1/sagas/?status=FAILED")) == ["status"]
    assert fields_at_fault(api.get("/api/v1/sagas/?cursor=cD1ub3RhbnV1aWQ%3D")) == ["cursor"]  # p=notanuuid


def test_the_list_costs_as_many_queries_for_ten_sagas_as_for_one(
    api: APIClient, saga: SagaInstance, operator: User
) -> None:
    with CaptureQueriesContext(connection) as one:
        api.get("/api/v1/sagas/")
    for _ in range(3):
        place(APIClient())

    with CaptureQueriesContext(connection) as four:
        assert len(api.get("/api/v1/sagas/").json()["results"]) == 4

    assert len(one) == len(four)
    assert len([query for query in four if "sagas_" in query["sql"]]) == 2


def test_pages_of_sagas_follow_each_other(api: APIClient, saga: SagaInstance, operator: User) -> None:
    second_saga, third_saga = (place(APIClient()).json()["saga"] for _ in range(2))

    first = api.get("/api/v1/sagas/?page_size=2").json()
    second = api.get(first["next"]).json()

    assert [row["id"] for row in first["results"] + second["results"]] == [third_saga, second_saga, str(saga.id)]
    assert second["next"] is None
    assert "count" not in first


def test_a_saga_tells_its_whole_plan_its_lock_and_what_may_be_done(
    api: APIClient, saga: SagaInstance, operator: User
) -> None:
    response = api.get(f"/api/v1/sagas/{saga.id}/")

    document = response.json()
    assert response.status_code == 200
    assert (document["key"], document["status"], document["version"]) == (saga.business_key, "PENDING", saga.version)
    assert document["waiting_on"] == "Going forward: at validate_order."
    assert (document["steps"][0]["name"], document["steps"][0]["action"]) == ("place_order", "SUCCEEDED")
    assert [(step["name"], step["kind"]) for step in document["steps"]][1:4] == [
        ("validate_order", "COMPENSATABLE"),
        ("reserve_stock", "COMPENSATABLE"),
        ("authorize_payment", "COMPENSATABLE"),
    ]
    assert {(step["action"], step["compensation"]) for step in document["steps"][1:]} == {("PENDING", "NOT_NEEDED")}
    [lock] = document["locks"]
    assert (lock["resource_type"], lock["resource_id"]) == ("shop.order", saga.business_key)
    assert document["events"][0]["after"] == "PENDING"
    assert [option["name"] for option in document["options"]] == list(OPERATIONS)
    assert document["attempts"] == document["operations"] == []


def test_an_unknown_saga_is_not_found(api: APIClient, operator: User, saga: SagaInstance) -> None:
    assert api.get(f"/api/v1/sagas/{uuid4()}/").status_code == 404
    statuses = [operate(api, SagaInstance(pk=uuid4()), name).status_code for name in OPERATIONS]
    assert statuses == [404] * len(OPERATIONS)


def test_a_saga_is_paused_and_resumed_with_a_reason(api: APIClient, saga: SagaInstance, operator: User) -> None:
    paused = operate(api, saga, "pause", reason="The carrier asked us to wait.").json()
    version = paused["saga"]["version"]
    resumed = operate(api, saga, "resume", version=version)

    assert (paused["saga"]["status"], paused["saga"]["suspend_reason"]) == ("SUSPENDED", "OPERATOR_PAUSE")
    assert paused["outcome"] == paused["saga"]["waiting_on"]
    assert paused["operation"]["reason"] == "The carrier asked us to wait."
    assert (paused["operation"]["actor"], paused["operation"]["name"]) == ("grace@example.org", "pause")
    assert resumed.status_code == 200
    assert resumed.json()["saga"]["suspend_reason"] == ""
    assert list(Operation.objects.values_list("name", flat=True)) == ["resume", "pause"]


def test_a_saga_is_turned_back(api: APIClient, saga: SagaInstance, operator: User) -> None:
    response = operate(api, saga, "compensate")

    assert response.status_code == 200
    assert response.json()["saga"]["status"] in ("COMPENSATING", "COMPENSATED")


def test_a_stale_version_is_refused_and_shows_where_the_saga_is(
    api: APIClient, saga: SagaInstance, operator: User
) -> None:
    SagaInstance.objects.filter(pk=saga.pk).update(version=saga.version + 1)

    response = operate(api, saga, "pause")

    document = response.json()
    assert (response.status_code, document["type"]) == (409, "/problems/stale-version")
    assert fields_at_fault(response) == []
    assert (document["current"]["version"], document["current"]["status"]) == (saga.version + 1, "PENDING")
    assert not Operation.objects.exists()


def test_what_the_state_does_not_allow_is_refused_and_says_why(
    api: APIClient, saga: SagaInstance, operator: User
) -> None:
    for name in ("retry", "resume", "resolve", "reschedule", "skip", "waive", "release", "review"):
        response = operate(api, saga, name)

        document = response.json()
        assert (response.status_code, document["type"]) == (409, "/problems/operation-refused")
        assert document["detail"]
        assert document["current"]["version"] == saga.version
    assert not Operation.objects.exists()


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_has_a_permission_of_its_own(api: APIClient, saga: SagaInstance, grace: User, name: str) -> None:
    needed = PERMISSIONS[name]
    all_others = set(PERMISSIONS.values()) - {needed}
    api.force_authenticate(allow(grace, "view_sagainstance", *all_others))

    response = operate(api, saga, name)

    assert (response.status_code, response.json()["type"]) == (403, "/problems/permission-denied")
    assert not Operation.objects.exists()
    assert SagaInstance.objects.get().version == saga.version


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": "   "}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": "x" * 1_001}, "reason"),
        ({"version": 0}, "version"),
        ({"version": True}, "version"),
        ({"version": "1"}, "version"),
        ({"version": 2**31}, "version"),
        ({"action_id": "7"}, "action_id"),
        ({"wait_seconds": 11}, "wait_seconds"),
    ],
)
def test_an_operation_needs_a_reason_and_a_version(
    api: APIClient, saga: SagaInstance, operator: User, body: dict[str, Any], field: str
) -> None:
    response = operate(api, saga, "pause", **body)

    assert response.status_code == 400
    assert fields_at_fault(response) == [field]
    assert not Operation.objects.exists()


@pytest.mark.parametrize("happened", ["yes", 1, None, "false"])
def test_an_outcome_is_true_or_false(api: APIClient, saga: SagaInstance, operator: User, happened: object) -> None:
    response = operate(api, saga, "resolve", step="authorize_payment", happened=happened)

    assert (response.status_code, fields_at_fault(response)) == (400, ["happened"])


def test_the_same_action_twice_is_done_once(api: APIClient, saga: SagaInstance, operator: User) -> None:
    action_id = str(uuid4())

    first = operate(api, saga, "pause", action_id=action_id)
    second = operate(api, saga, "pause", action_id=action_id)

    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert Operation.objects.count() == 1


def test_an_action_id_is_good_for_one_thing_only(api: APIClient, saga: SagaInstance, operator: User) -> None:
    action_id = str(uuid4())
    version = operate(api, saga, "pause", action_id=action_id).json()["saga"]["version"]

    response = operate(api, saga, "resume", action_id=action_id, version=version)

    assert (response.status_code, response.json()["type"]) == (409, "/problems/action-id-reused")
    assert SagaInstance.objects.get().suspend_reason == "OPERATOR_PAUSE"


def test_a_get_changes_nothing(api: APIClient, saga: SagaInstance, operator: User) -> None:
    for name in OPERATIONS:
        assert api.get(f"/api/v1/sagas/{saga.id}/{name}/").status_code == 405
    assert SagaInstance.objects.get().version == saga.version


def test_a_session_needs_the_csrf_token_to_operate(saga: SagaInstance, grace: User) -> None:
    allow(grace, "view_sagainstance", "pause_saga")
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(grace)

    response = operate(browser, saga, "pause")

    assert (response.status_code, response.json()["type"]) == (403, "/problems/permission-denied")
    assert not Operation.objects.exists()


def test_a_preview_shows_what_an_operation_would_come_to_and_changes_nothing(
    api: APIClient, operator: User, saga: SagaInstance
) -> None:
    address = f"/api/v1/sagas/{saga.id}/preview/"

    operator.user_permissions.add(Permission.objects.get(codename="view_order"))
    api.force_authenticate(User.objects.get(pk=operator.pk))

    back = api.get(address, {"operation": "compensate"}).json()
    ahead = api.get(address, {"operation": "retry"}).json()

    assert [undone["compensation"] for undone in back["way_back"]["undone"]] == ["cancel_order"]
    order = back["way_back"]["undone"][0]["changes"][0]
    assert (order["table"], order["row"]) == ("order", saga.business_key)
    assert {"column": "status", "before": "pending", "after": "cancelled"} in order["differences"]
    assert (ahead["outlook"], ahead["way_back"]) == ([], None)
    assert api.get(address, {"operation": "retry", "ask": "capture_payment"}).status_code == 409
    assert fields_at_fault(api.get(address, {"operation": "pause"})) == ["operation"]
    saga.refresh_from_db()
    assert (saga.version, saga.status) == (1, "PENDING")


def test_a_preview_shows_only_rows_that_its_reader_may_view(api: APIClient, saga: SagaInstance, grace: User) -> None:
    def previewed(*permissions: str) -> Any:
        reader = allow(grace, "view_sagainstance", "compensate_saga", *permissions)
        api.force_authenticate(reader)
        answer = api.get(f"/api/v1/sagas/{saga.id}/preview/", {"operation": "compensate"}).json()
        page = client_of(reader).get(url("compensate", saga))
        on_the_page, told = page.context["way_back"].undone[0], answer["way_back"]["undone"][0]
        assert [change.row for change in on_the_page.changes] == [change["row"] for change in told["changes"]]
        assert on_the_page.note in text_of(page)
        return [change["table"] for change in told["changes"]], told["note"]

    assert previewed() == ([], "It changes rows that you may not view: order.")
    assert previewed("view_order") == (["order"], "")


def test_a_preview_needs_the_permission_of_its_operation(api: APIClient, saga: SagaInstance, grace: User) -> None:
    api.force_authenticate(allow(grace, "view_sagainstance", "retry_saga"))

    assert api.get(f"/api/v1/sagas/{saga.id}/preview/", {"operation": "compensate"}).status_code == 403
    assert api.get(f"/api/v1/sagas/{saga.id}/preview/", {"operation": "retry"}).status_code == 200
