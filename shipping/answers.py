"""The carrier's words in those of the engine, for steps of sagas and for handlers of events."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sagas.outcomes import CannotTell, CheckAnswer, DidNotHappen, Happened, Refused, Transient, Unknown
from shipping.exceptions import (
    AlreadyCancelled,
    BookingRefused,
    CancelRefused,
    CarrierUnavailable,
    NotDone,
    OutcomeUnknown,
)

R = TypeVar("R")


@contextmanager
def carrier_answers() -> Iterator[None]:
    """The carrier's words in the saga's."""
    try:
        yield
    except BookingRefused as error:
        raise Refused("booking_refused", error.message) from error
    except AlreadyCancelled as error:
        raise Refused("already_cancelled", str(error)) from error
    except CancelRefused as error:
        # On its way already: an action turns its saga back, a compensation waits for a person.
        raise Refused("cancel_refused", str(error)) from error
    except CarrierUnavailable as error:
        raise Transient(error.message, error.retry_after) from error
    except OutcomeUnknown as error:
        raise Unknown(error.message) from error


def proof_of_booking(find: Callable[[], R]) -> CheckAnswer[R]:
    """What a look-up at the carrier proves: that it happened, that it cannot have, or nothing."""
    with carrier_answers():
        try:
            return Happened(find())
        except NotDone as error:
            return DidNotHappen(error.message)
        except OutcomeUnknown as error:
            return CannotTell(error.message)
