from threading import Thread

import pytest
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from django.urls import reverse

from inventory import services
from inventory.models import StockItem, StockMovement
from tests.racing import until_somebody_waits

pytestmark = pytest.mark.django_db


@pytest.fixture
def stock():
    services.receive("MUG", 10)


def test_a_delivery_is_booked_as_a_line_of_the_ledger(admin_client, stock):
    answer = admin_client.post(
        reverse("admin:inventory_stockmovement_add"),
        {"kind": "RECEIVED", "sku": "MUG", "quantity": "5", "note": "late delivery"},
    )

    assert answer.status_code == 302
    assert StockItem.objects.get(sku="MUG").on_hand == 15
    assert StockMovement.objects.values_list("kind", "delta", "note")[0] == ("RECEIVED", 5, "late delivery")


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"sku": "NONE"}, "sku"),
        ({"quantity": "11"}, "quantity"),
        ({"quantity": "0"}, "quantity"),
        ({"note": ""}, "note"),
    ],
)
def test_a_bad_write_off_names_the_field_and_changes_nothing(admin_client, stock, entry, field):
    answer = admin_client.post(
        reverse("admin:inventory_stockmovement_add"),
        {"kind": "WRITTEN_OFF", "sku": "MUG", "quantity": "1", "note": "broken", **entry},
    )

    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == [field]
    assert StockItem.objects.get(sku="MUG").on_hand == 10


@pytest.mark.django_db(transaction=True)
def test_of_two_who_write_off_the_last_units_one_is_told_that_they_are_gone(admin_user, stock, monkeypatch):
    answers, write_off = {}, services.write_off

    def post(who):
        client = Client()
        client.force_login(admin_user)
        entry = {"kind": "WRITTEN_OFF", "sku": "MUG", "quantity": "10", "note": "flood"}
        answers[who] = client.post(reverse("admin:inventory_stockmovement_add"), entry)

    def post_beside():
        post("second")
        connections.close_all()

    second = Thread(target=post_beside)

    def while_the_second_asks(*entry):
        monkeypatch.undo()
        second.start()
        until_somebody_waits()
        return write_off(*entry)

    monkeypatch.setattr(services, "write_off", while_the_second_asks)
    post("first")
    second.join()

    assert (answers["first"].status_code, answers["second"].status_code) == (302, 200)
    errors = answers["second"].context["adminform"].form.errors
    assert errors == {"quantity": ["Only 0 units are on hand and not promised."]}
    assert StockItem.objects.get(sku="MUG").on_hand == 0


def test_figures_cannot_be_edited_or_deleted_even_by_a_superuser(admin_client, stock):
    item = StockItem.objects.get()
    movement = StockMovement.objects.get()

    for name, pk in [("stockitem", item.pk), ("stockmovement", movement.pk)]:
        assert admin_client.get(reverse(f"admin:inventory_{name}_change", args=[pk])).status_code == 200
        assert admin_client.post(reverse(f"admin:inventory_{name}_change", args=[pk]), {}).status_code == 403
        assert admin_client.post(reverse(f"admin:inventory_{name}_delete", args=[pk]), {}).status_code == 403
    assert admin_client.get(reverse("admin:inventory_stockitem_add")).status_code == 403


def test_staff_who_may_only_look_cannot_book(client, django_user_model, stock):
    looker = django_user_model.objects.create_user("looker", password="x", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename="view_stockmovement"))
    client.force_login(looker)

    answer = client.post(reverse("admin:inventory_stockmovement_add"), {"kind": "RECEIVED", "sku": "MUG"})

    assert answer.status_code == 403
    assert client.get(reverse("admin:inventory_stockmovement_changelist")).status_code == 200
