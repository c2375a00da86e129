import uuid
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from money import Money
from payments import services
from payments.gateway import Authorization
from payments.models import Payment
from payments.reconciliation import disagreements

pytestmark = pytest.mark.django_db

SOON = timedelta(seconds=5)


@pytest.fixture
def started():
    return timezone.now() - timedelta(seconds=1)


def authorized_at_the_bank():
    reference = f"S-{uuid.uuid4().hex[:10]}"
    request = services.open_payment(reference, Money(1999, "EUR"), "pm_card_visa", key=reference)
    return reference, services.authorize(request, key=reference, timeout=SOON)


def found(reference, started):
    return [
        (item.ours, item.theirs)
        for item in disagreements(services.gateway(), started, timezone.now())
        if item.reference == reference
    ]


def test_a_payment_both_know_alike_is_no_news(bank, started):
    reference, authorization = authorized_at_the_bank()
    services.record_authorized(reference, authorization)

    assert found(reference, started) == []


def test_an_authorization_whose_answer_never_came_is_found(bank, started):
    reference, _ = authorized_at_the_bank()

    assert found(reference, started) == [
        ("UNKNOWN 1999 EUR, 0 captured, 0 refunded", "AUTHORIZED 1999 EUR, 0 captured, 0 refunded")
    ]


def test_money_held_for_an_order_lost_with_a_backup_is_found(bank, started):
    reference, _ = authorized_at_the_bank()
    Payment.objects.all().delete()

    assert found(reference, started) == [("no such payment", "AUTHORIZED 1999 EUR, 0 captured, 0 refunded")]


def test_a_payment_the_bank_does_not_know_is_found(bank, started):
    services.open_payment("S-1", Money(1999, "EUR"), "pm_card_visa", key="key-1")
    services.record_authorized("S-1", Authorization("pi_of_nobody", 1999, "EUR"))

    assert found("S-1", started) == [("AUTHORIZED 1999 EUR, 0 captured, 0 refunded", "no such payment")]


def test_the_command_fails_when_the_sides_differ_and_when_the_bank_is_gone(bank, settings):
    reference, _ = authorized_at_the_bank()
    out = StringIO()

    with pytest.raises(CommandError, match="payments differ"):
        call_command("reconcile_payments", hours=1, settle=0, stdout=out)
    assert reference in out.getvalue()
    assert "0 stored events applied." in out.getvalue()

    settings.BANK_URL = "http://127.0.0.1:9"
    with pytest.raises(CommandError, match="could not be asked"):
        call_command("reconcile_payments", stdout=out)


def test_a_payment_that_changed_just_now_is_left_for_the_next_run(bank, started):
    reference, _ = authorized_at_the_bank()

    found = disagreements(services.gateway(), started, started)

    assert [item for item in found if item.reference == reference] == []
