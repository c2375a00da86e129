"""`manage.py sandbox_bank`: the demonstration bank, until it is stopped."""

from django.conf import settings

from sandbox.bank import Bank
from sandbox.command import SandboxCommand
from sandbox.server import Service
from sandbox.store import Store
from sandbox.webhooks import Headers, stripe_headers


class Command(SandboxCommand):
    help = "Run the sandbox bank, which speaks Stripe's PaymentIntents."
    name = "bank"

    def service(self, store: Store) -> Service:
        return Bank(store, settings.BANK_API_KEY)

    def webhook_headers(self) -> Headers:
        return stripe_headers(settings.BANK_WEBHOOK_SECRETS[0])
