"""What the steps of all the shop's plans share: mail."""

import logging
from dataclasses import dataclass
from smtplib import SMTPRecipientsRefused
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage

from sagas.definition import Context
from sagas.outcomes import Transient

logger = logging.getLogger(__name__)


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
    except (SMTPRecipientsRefused, UnicodeError):  # nobody has that address, or no mail can even be addressed to it
        # What it tells stands whether or not it can be delivered; the order's page tells the same.
        logger.warning("the mail of %s for %s cannot be delivered", ctx.step, ctx.key)
    except OSError as error:
        # It may have been sent; since a second copy has the same Message-ID, trying again is safe.
        raise Transient(f"the mail server cannot be reached: {type(error).__name__}") from error
