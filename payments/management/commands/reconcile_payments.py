"""`manage.py reconcile_payments`: apply the webhooks left over, then list what the bank and we disagree on."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from payments.exceptions import PaymentError
from payments.reconciliation import disagreements
from payments.services import apply_pending_events, gateway


class Command(BaseCommand):
    help = "Compare our payments with the bank's; exit with an error when they differ."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--hours", type=int, default=48, help="how far to look back (48)")
        parser.add_argument("--settle", type=int, default=300, help="leave out what changed in so many seconds (300)")

    def handle(self, *args: Any, hours: int, settle: int, **options: Any) -> None:
        applied = apply_pending_events()
        try:
            now = timezone.now()
            found = disagreements(gateway(), now - timedelta(hours=hours), now - timedelta(seconds=settle))
        except PaymentError as error:
            raise CommandError(f"The bank could not be asked: {error}") from error
        self.stdout.write(f"{len(applied)} stored events applied.")
        for item in found:
            self.stdout.write(f"{item.reference} {item.intent_id}: we say {item.ours}; the bank says {item.theirs}")
        if found:
            raise CommandError(f"{len(found)} payments differ.")
        self.stdout.write("The bank and we agree.")
