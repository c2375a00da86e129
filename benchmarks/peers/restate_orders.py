"""Who places orders and sends them to Restate, over one connection that is kept."""

import http.client
import json
import os

from benchmarks.crew import serve
from benchmarks.peers.commits import place


def main() -> None:
    ingress = http.client.HTTPConnection("127.0.0.1", int(os.environ["RESTATE_PORT"]), timeout=30)

    def do(number: str, product: int, quantity: int, cents: int, declined: bool) -> float:
        placed = place(number, product, quantity, cents)
        order = json.dumps([number, product, quantity, cents, declined])
        ingress.request("POST", "/Orders/run/send", order, {"Content-Type": "application/json"})
        answer = ingress.getresponse()
        said = answer.read()
        if answer.status not in (200, 202):
            raise RuntimeError(f"Restate answered {answer.status}: {said!r}")
        return placed

    serve(do)


if __name__ == "__main__":
    main()
