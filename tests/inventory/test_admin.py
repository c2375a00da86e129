from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from inventory import services
from inventory.models import StockItem, StockMovement
from tests.racing import race

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
    write_off, both_found_enough = services.write_off, Barrier(2)

    def after_the_other_has_looked(*entry):
        with suppress(BrokenBarrierError):
            both_found_enough.wait(timeout=1)
        return write_off(*entry)

    monkeypatch.setattr(services, "write_off", after_the_other_has_looked)

    def post():
        client = Client()
        client.force_login(admin_user)
        return client.post(
            reverse("admin:inventory_stockmovement_add"),
            {"kind": "WRITTEN_OFF", "sku": "MUG", "quantity": "10", "note": "flood"},
        )

    done, refused = sorted(race([post, post]), key=lambda answer: -answer.status_code)

    assert (done.status_code, refused.status_code) == (302, 200)
    assert refused.context["adminform"].form.errors == {"quantity": ["Only 0 units are on hand and not promised."]}
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
