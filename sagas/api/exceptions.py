"""What the staff API refuses. ``default_code`` is the stable type of the problem; the docstring is its page."""

from typing import Any

from rest_framework.exceptions import APIException


class _NotAsItStands(APIException):
    """A conflict with where the saga stands; ``current`` shows that."""

    status_code = 409

    def __init__(self, detail: str | None = None, current: Any = None) -> None:
        super().__init__(detail)
        self.extensions = {} if current is None else {"current": current}


class StaleVersion(_NotAsItStands):
    """The saga moved on since the `version` you named; `current` is where it is now.

    Look at it again: what you wanted to do may be done, or not needed any more. Nothing was changed.
    """

    default_code = "stale_version"
    default_detail = "The saga has moved on since this page was made. Look at it again before you act."
    title = "The saga has moved on"


class OperationRefused(_NotAsItStands):
    """The saga's state does not allow this operation; `detail` says why. Nothing was changed."""

    default_code = "operation_refused"
    default_detail = "The saga cannot be turned back: its pivot has passed."
    title = "The saga does not allow this now"


class ActionIdReused(_NotAsItStands):
    """This `action_id` came before with another operation. Make a new one for each thing you do."""

    default_code = "action_id_reused"
    default_detail = "This action_id belongs to another operation."
    title = "The action_id was used for something else"
