"""What an error says, without what it must not say: secrets, card numbers, e-mail addresses.

Stored tracebacks hold code lines only, never the values of variables.
"""

import re
import traceback
from typing import Any

_SECRETS = (
    (re.compile(r"\b(?:sk|pk|rk|pm|tok|whsec|EZ[AT]K|Bearer|Basic)[_ ][A-Za-z0-9_\-+/=.]{4,}"), "[secret]"),
    (
        # A name with such a word in it, and what it is set to: client_secret=..., "X-Api-Key": "...".
        re.compile(
            r"(?i)((?:[\w-]{0,40}(?:password|passwd|secret|token|api[_-]?key)[\w-]{0,40}|\bauthorization)['\"]?\s*[:=]\s*)"
            r"(?:'[^']*'?|\"[^\"]*\"?|[^\s'\",;}&]+)"
        ),
        r"\1[secret]",
    ),
    # What Stripe lets a browser confirm a payment with.
    (re.compile(r"\b\w{1,40}_secret_\w{8,}"), "[secret]"),
    (re.compile(r"(://[^:/\s]*:)[^@/\s]+@"), r"\1[secret]@"),
    (re.compile(r"\b\d(?:[ -]?\d){11,18}\b"), "[number]"),
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"), "[e-mail]"),
)

MAX_MESSAGE = 500
MAX_TRACEBACK = 8_000
MAX_DEPTH = 50


def redact(text: str) -> str:
    """The text with what looks like a secret, a long number or an e-mail address blotted out."""
    for pattern, blot in _SECRETS:
        text = pattern.sub(blot, text)
    # Neither a NUL nor half of a surrogate pair can be stored in PostgreSQL.
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def redact_values(value: Any, depth: int = MAX_DEPTH) -> Any:
    """JSON values with the same blots; also what stands under a name that says it is a secret, whatever it is.

    What is nested deeper than people read is cut, with a note in its place.
    """
    if isinstance(value, dict | list) and not depth:
        return f"… nested deeper than {MAX_DEPTH} levels"
    if isinstance(value, dict):
        return {
            name: "[secret]"
            if held is not None and redact(f"{name}=x") != f"{name}=x"
            else redact_values(held, depth - 1)
            for name, held in value.items()
        }
    if isinstance(value, list):
        return [redact_values(held, depth - 1) for held in value]
    if isinstance(value, str):
        return redact(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "[number]" if is_number and redact(str(value)) != str(value) else value


def message_of(text: object) -> str:
    """The redacted beginning of a text. Cut twice, since a partner may answer with megabytes.

    Whoever raises may give what is no text, such as the error of a library; some errors cannot even say what they are.
    """
    try:
        return redact(str(text)[: 4 * MAX_MESSAGE])[:MAX_MESSAGE]
    except Exception:
        return type(text).__name__


def words_of(error: BaseException) -> str:
    """The class of an error and what it says, redacted; some errors cannot even say that."""
    try:
        return message_of(f"{type(error).__name__}: {error}")
    except Exception:
        return type(error).__name__


def traceback_of(error: BaseException) -> str:
    """The redacted end of an error's traceback, with its causes."""
    return redact("".join(traceback.format_exception(error))[-2 * MAX_TRACEBACK :])[-MAX_TRACEBACK:]
