"""What the API reads and writes: JSON (RFC 8259), small, flat enough, and with one meaning only."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from config.problems import TooLarge

MAX_DEPTH = 10
# UTF-8 cannot write half of a surrogate pair, and PostgreSQL stores no NUL.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class StrictJSONParser(BaseParser):
    """Reads a body of at most ``DATA_UPLOAD_MAX_MEMORY_SIZE`` bytes.

    Django's own limit does not reach here: Django REST framework reads the stream itself. Names that appear
    twice, NaN, Infinity and numbers that overflow are refused: two readers would understand them differently.
    Text that cannot be answered or stored is refused as well, wherever it stands, and its field is named.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 64 * 1024
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise TooLarge
        try:
            parsed = json.loads(
                body.decode(), object_pairs_hook=_once_each, parse_constant=_refuse_constant, parse_float=_finite
            )
        except UnicodeDecodeError as error:
            raise ParseError("The body is not UTF-8.") from error
        except json.JSONDecodeError as error:
            raise ParseError(f"{error.msg} at line {error.lineno}, column {error.colno}.") from error
        except RecursionError as error:
            raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.") from error
        except ValueError as error:
            raise ParseError("The body holds a number that is too long.") from error
        _refuse_depth(parsed)
        _refuse_what_is_no_text(parsed)
        return parsed


class AlwaysJSON(DefaultContentNegotiation):
    """There is one representation, so ``Accept`` is not read (RFC 9110, 12.4.1 allows it): no 406 for a problem."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ParseError(f"The name {json.dumps(twice[:50])} appears twice in one object.")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ParseError(f"{name} is not JSON.")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ParseError("The body holds a number that is too large.")
    return number


def _refuse_depth(parsed: Any) -> None:
    level = [parsed]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _refuse_what_is_no_text(value: Any, field: str = "") -> None:
    if isinstance(value, str) and _NO_TEXT.search(value):
        raise ValidationError({field: "A NUL or half of a surrogate pair is no text."})
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_what_is_no_text(name, field)
            _refuse_what_is_no_text(inner, f"{field}.{name}".lstrip("."))
    if isinstance(value, list):
        for position, inner in enumerate(value):
            _refuse_what_is_no_text(inner, f"{field}.{position}".lstrip("."))
