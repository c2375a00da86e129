"""What the steps of all the shop's plans share: the participants' words in the saga's, and mail."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from smtplib import SMTPRecipientsRefused
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage

from payments import exceptions as payment_exceptions
from sagas.definition import Context
from sagas.outcomes import CannotTell, CheckAnswer, DidNotHappen, Happened, Refused, Transient, Unknown
from shipping import exceptions as shipping_exceptions

logger = logging.getLogger(__name__)

R = TypeVar("R")


@contextmanager
def bank_answers() -> Iterator[None]:
    """The bank's words in the saga's."""
    try:
        yield
    except payment_exceptions.Declined as error:
        raise Refused(error.code, error.message) from error
    except payment_exceptions.AlreadyVoided as error:
        raise Refused("already_voided", str(error)) from error
    except payment_exceptions.GatewayUnavailable as error:
        raise Transient(error.message, error.retry_after) from error
    except payment_exceptions.OutcomeUnknown as error:
        raise Unknown(error.message) from error


@contextmanager
def carrier_answers() -> Iterator[None]:
    """The carrier's words in the saga's."""
    try:
        yield
    except shipping_exceptions.BookingRefused as error:
        raise Refused("booking_refused", error.message) from error
    except shipping_exceptions.AlreadyCancelled as error:
        raise Refused("already_cancelled", str(error)) from error
    except shipping_exceptions.CancelRefused as error:
        # On its way already: an action turns its saga back, a compensation waits for a person.
        raise Refused("cancel_refused", str(error)) from error
    except shipping_exceptions.CarrierUnavailable as error:
        raise Transient(error.message, error.retry_after) from error
    except shipping_exceptions.OutcomeUnknown as error:
        raise Unknown(error.message) from error


def proof_of(find: Callable[[], R]) -> CheckAnswer[R]:
    """What a look-up at the bank or the carrier proves: that it happened, that it cannot have, or nothing."""
    try:
        return Happened(find())
    except (payment_exceptions.NotDone, shipping_exceptions.NotDone) as error:
        return DidNotHappen(error.message)
    except (payment_exceptions.OutcomeUnknown, shipping_exceptions.OutcomeUnknown) as error:
        return CannotTell(error.message)


@dataclass(frozen=True, slots=True)
class Mail:
    recipient: str
    subject: str
    body: str


def deliver(ctx: Context[Any], mail: Mail) -> None:
    """Send a mail; a repeat carries the same Message-ID, so that a mailbox shows it once."""
    host = urlsplit(settings.PUBLIC_URL).hostname or "localhost"
    headers = {"Message-ID": f"<{ctx.idempotency_key.replace(':', '.')}@{host}>"}
    message = EmailMessage(mail.subject, mail.body, to=[mail.recipient], headers=headers)
    try:
        message.send()
    except SMTPRecipientsRefused:
        # What it tells stands whether or not it can be delivered; the order's page tells the same.
        logger.warning("the mail of %s for %s cannot be delivered", ctx.step, ctx.key)
    except OSError as error:
        # It may have been sent; since a second copy has the same Message-ID, trying again is safe.
        raise Transient(f"the mail server cannot be reached: {type(error).__name__}") from error
