"""HTTP as a patient client does it: repeated until the answer is enough, everything written down."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from typing import Any

from tests.chaos.wishes import Answer
from tests.chaos.world import World, http

API = "/api/v1/"
LONGEST_PATIENCE = 90.0


class Client:
    """``leave`` ends every repetition."""

    def __init__(self, world: World) -> None:
        self.world, self.leave = world, threading.Event()

    def post(self, path: str, body: Any, headers: dict[str, str]) -> Answer:
        return self.ask("POST", path, body, headers)

    def ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        sent_at, status, told = time.time(), 0, {}
        with suppress(OSError, HTTPException):
            status, text, _ = http(self.world.port, method, f"{API}{path}", body, headers)
            with suppress(ValueError):
                told = json.loads(text)
        return Answer(status, told if isinstance(told, dict) else {}, sent_at, time.time())

    def until(
        self, send: Callable[[], Answer], is_enough: Callable[[Answer], bool], patience: float = LONGEST_PATIENCE
    ) -> bool:
        """Send again, less and less often. Whether the answer was enough before it was time to leave."""
        give_up_at = time.monotonic() + patience
        pause = 0.3
        while not is_enough(send()):
            if time.monotonic() > give_up_at or self.leave.wait(pause):
                return False
            pause = min(pause * 1.7, 3.0)
        return True
