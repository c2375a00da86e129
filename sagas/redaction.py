"""What an error says, without what it must not say: secrets, card numbers, e-mail addresses.

Stored tracebacks hold code lines only, never the values of variables.
"""

import re
import traceback

_SECRETS = (
    (re.compile(r"\b(?:sk|pk|rk|pm|tok|whsec|EZ[AT]K|Bearer|Basic)[_ ][A-Za-z0-9_\-+/=.]{4,}"), "[secret]"),
    (
        re.compile(r"(?i)\b(password|secret|token|api_?key|authorization)\b(['\"]?\s*[:=]\s*)(['\"]?)[^\s'\",}&]+"),
        r"\1\2[secret]",
    ),
    (re.compile(r"(://[^:/\s]*:)[^@/\s]+@"), r"\1[secret]@"),
    (re.compile(r"\b\d(?:[ -]?\d){11,18}\b"), "[number]"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "[e-mail]"),
)

MAX_MESSAGE = 500
MAX_TRACEBACK = 8_000


def redact(text: str) -> str:
    """The text with what looks like a secret, a long number or an e-mail address blotted out."""
    for pattern, blot in _SECRETS:
        text = pattern.sub(blot, text)
    # A NUL cannot be stored as text in PostgreSQL.
    return text.replace("\x00", "")


def message_of(text: str) -> str:
    return redact(text)[:MAX_MESSAGE]


def traceback_of(error: BaseException) -> str:
    """The redacted end of an error's traceback, with its causes."""
    return redact("".join(traceback.format_exception(error)))[-MAX_TRACEBACK:]
