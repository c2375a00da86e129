"""What the engine tells its callers."""

from datetime import datetime


class LockTaken(Exception):
    """Another saga holds the resource; ``definition``, ``key`` and ``since`` say who and since when."""

    def __init__(self, resource_type: str, resource_id: str, definition: str, key: str, since: datetime) -> None:
        super().__init__(
            f"{resource_type} {resource_id} is held by {definition} ({key}) since {since:%Y-%m-%d %H:%M:%S} UTC"
        )
        self.resource_type, self.resource_id = resource_type, resource_id
        self.definition, self.key, self.since = definition, key, since


class StaleVersion(Exception):
    """The saga has moved on since the page was made; ``version`` is where it is now."""

    def __init__(self, version: int) -> None:
        super().__init__("The saga has moved on since this page was made. Look at it again before you act.")
        self.version = version


class OperationRefused(Exception):
    """The saga's state does not allow the operation; the message says why."""


class ActionIdReused(OperationRefused):
    """The id of an operation came before with another operation, saga or person; every page makes a new one."""


class UnknownSignal(Exception):
    """No step of the definition waits for a signal of that name."""


class UnknownSaga(Exception):
    """There is no such saga."""
