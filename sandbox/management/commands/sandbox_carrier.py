"""`manage.py sandbox_carrier`: the demonstration carrier, until it is stopped."""

from django.conf import settings

from sandbox.carrier import Carrier
from sandbox.command import SandboxCommand
from sandbox.server import Service
from sandbox.store import Store
from sandbox.webhooks import Headers, easypost_headers


class Command(SandboxCommand):
    help = "Run the sandbox carrier, which speaks EasyPost's shipments."
    name = "carrier"

    def service(self, store: Store) -> Service:
        return Carrier(store, settings.CARRIER_API_KEY)

    def webhook_headers(self) -> Headers:
        return easypost_headers(settings.CARRIER_WEBHOOK_SECRETS[0])
