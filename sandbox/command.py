"""What the commands `sandbox_bank` and `sandbox_carrier` share: refuse outside of practice, serve, stop."""

import os
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sandbox.server import SandboxServer, Service
from sandbox.store import Store
from sandbox.webhooks import Headers, WebhookSender


class SandboxCommand(BaseCommand):
    requires_system_checks = []  # it needs no database and none of the shop
    name = ""

    def service(self, store: Store) -> Service:
        raise NotImplementedError

    def webhook_headers(self) -> Headers:
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, required=True)
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument(
            "--webhook-url",
            default=os.environ.get(f"SANDBOX_{self.name.upper()}_WEBHOOK_URL", ""),
            help="where to send events; none are sent without it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not (settings.DEBUG or settings.SANDBOX):
            raise CommandError("The sandbox is for practice: set DEBUG or SANDBOX=1, or use the real service.")
        store = Store(settings.DATA_DIR / "sandbox" / f"{self.name}.sqlite3")
        server = SandboxServer((options["host"], options["port"]), self.service(store), store)
        if options["webhook_url"]:
            WebhookSender(store, options["webhook_url"], self.webhook_headers()).start()
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, lambda *_: threading.Thread(target=server.stop).start())
        self.stdout.write(f"{self.name} on http://{options['host']}:{server.server_address[1]}")
        self.stdout.flush()
        server.run()
        server.server_close()  # the store stays open: requests under way may still write to it
