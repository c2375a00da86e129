"""The bank's words in those of the engine, for steps of sagas and for handlers of events."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from payments.exceptions import AlreadyVoided, Declined, GatewayUnavailable, NotDone, OutcomeUnknown
from sagas.outcomes import CannotTell, CheckAnswer, DidNotHappen, Happened, Refused, Transient, Unknown

R = TypeVar("R")


@contextmanager
def bank_answers() -> Iterator[None]:
    """The bank's words in the saga's."""
    try:
        yield
    except Declined as error:
        raise Refused(error.code, error.message) from error
    except AlreadyVoided as error:
        raise Refused("already_voided", str(error)) from error
    except GatewayUnavailable as error:
        raise Transient(error.message, error.retry_after) from error
    except OutcomeUnknown as error:
        raise Unknown(error.message) from error


def proof_of_payment(find: Callable[[], R]) -> CheckAnswer[R]:
    """What a look-up at the bank proves: that it happened, that it cannot have, or nothing."""
    with bank_answers():
        try:
            return Happened(find())
        except NotDone as error:
            return DidNotHappen(error.message)
        except OutcomeUnknown as error:
            return CannotTell(error.message)
