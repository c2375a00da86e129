"""Every error of the API as a problem document (RFC 9457), whoever raised it.

The exceptions stay where they belong: an API view raises an `APIException`, and its class says what a client
may build on: ``default_code`` becomes the problem's stable ``type``, ``title`` its title, the docstring its
page under /problems/. Members of its own go into an ``extensions`` dict of the instance.
"""

import logging
import math
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, UnreadablePostError
from django.template.loader import render_to_string
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from sagas.turns import is_weather

logger = logging.getLogger("api")

CONTENT_TYPE = "application/problem+json"
API_ROOT = "/api/"


class TooLarge(exceptions.APIException):
    """The body of the request is larger than the API reads (64 KiB)."""

    status_code = 413
    default_code = "too_large"
    default_detail = "The request's body is larger than 64 KiB."
    title = "The request is too large"


class Unavailable(exceptions.APIException):
    """The shop cannot answer right now, and nothing of the request was done or its outcome is not known.

    Send it again after the time in `Retry-After`; with the same `Idempotency-Key` that is safe.
    """

    status_code = 503
    default_code = "unavailable"
    default_detail = "The shop cannot answer right now. Send the request again in a moment."
    title = "Try again in a moment"
    wait = 5


class InternalError(exceptions.APIException):
    """A mistake of ours. `correlation_id` finds it in our log."""

    status_code = 500
    default_code = "internal_error"
    default_detail = "Something went wrong on our side. It was logged under the correlation id."
    title = "Something went wrong on our side"


# Django REST framework's own exceptions: the last part of the type, and the title.
STANDARD = {
    exceptions.ValidationError: ("invalid-request", "The request is not valid"),
    exceptions.ParseError: ("broken-json", "The request's body is not JSON"),
    exceptions.AuthenticationFailed: ("authentication-failed", "These credentials are not valid"),
    exceptions.NotAuthenticated: ("not-authenticated", "This needs credentials"),
    exceptions.PermissionDenied: ("permission-denied", "This is not allowed"),
    exceptions.NotFound: ("not-found", "There is nothing here"),
    exceptions.MethodNotAllowed: ("method-not-allowed", "The method is not allowed here"),
    exceptions.UnsupportedMediaType: ("unsupported-media-type", "The body has to be application/json"),
    exceptions.Throttled: ("too-many-requests", "Too many requests"),
}


def slug_of(kind: type[exceptions.APIException]) -> str:
    """The last part of a problem's ``type``; stable, clients compare it."""
    return STANDARD[kind][0] if kind in STANDARD else str(kind.default_code).replace("_", "-")


def title_of(kind: type[exceptions.APIException]) -> str:
    standard = STANDARD.get(kind, ("", HTTPStatus(kind.status_code).phrase))
    return str(getattr(kind, "title", standard[1]))


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """Answer an exception of an API view with its problem document; called by Django REST framework."""
    request: HttpRequest = context["request"]
    problem = _as_api_exception(error)
    document = problem_document(problem, request.path)
    if isinstance(problem, InternalError):
        logger.error(
            "%s %s failed, correlation id %s", request.method, request.path, document["correlation_id"], exc_info=error
        )
        # The signal is what error trackers listen to, and lets Django's test client raise what happened.
        got_request_exception.send(sender=exception_handler, request=request)
    return Response(document, status=problem.status_code, headers=_headers(problem), content_type=CONTENT_TYPE)


def problem_document(problem: exceptions.APIException, instance: str) -> dict[str, Any]:
    details = list(_details(problem.detail))
    errors = [{"field": field, "message": str(detail), "code": detail.code} for field, detail in details]
    about_the_body = isinstance(problem.detail, (list, dict)) or problem.status_code in (400, 413, 415)
    document = {
        "type": f"/problems/{slug_of(type(problem))}",
        "title": title_of(type(problem)),
        "status": problem.status_code,
        "detail": " ".join(f"{field}: {detail}" if field else str(detail) for field, detail in details[:3]),
        "instance": instance,
        "errors": errors if about_the_body else [],
        **getattr(problem, "extensions", {}),
    }
    if problem.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        document["correlation_id"] = str(uuid.uuid4())
    return document


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's handler400: API paths get a problem document, pages keep Django's."""
    if not request.path.startswith(API_ROOT):
        return defaults.bad_request(request, exception)
    return _plain(request, _as_api_exception(exception))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if not request.path.startswith(API_ROOT):
        return defaults.permission_denied(request, exception)
    return _plain(request, exceptions.PermissionDenied())


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if not request.path.startswith(API_ROOT):
        return defaults.page_not_found(request, exception)
    return _plain(request, exceptions.NotFound())


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's handler500: what breaks before or after an API view still is a problem document."""
    problem = _as_api_exception(sys.exc_info()[1])
    if isinstance(problem, Unavailable):
        return _unavailable(request, problem)
    return _plain(request, InternalError()) if request.path.startswith(API_ROOT) else defaults.server_error(request)


class UnavailableMiddleware:
    """A page without a database says to come back, with 503, also where DEBUG would show where it broke."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Called by Django with what a view or its template raised."""
        problem = _as_api_exception(error)
        return _unavailable(request, problem) if isinstance(problem, Unavailable) else None


def _unavailable(request: HttpRequest, problem: Unavailable) -> HttpResponseBase:
    if request.path.startswith(API_ROOT):
        return _plain(request, problem)
    return HttpResponse(render_to_string("503.html"), status=problem.status_code, headers=_headers(problem))


def locked_out(request: HttpRequest, response: HttpResponseBase, credentials: object) -> HttpResponseBase:
    """Axes: this name and address failed to log in too often. The API's own refusal stays as it is."""
    if request.path.startswith(API_ROOT):
        return response
    page = defaults.permission_denied(request, PermissionDenied("Too many failed logins. Try again in a while."))
    page.status_code = HTTPStatus.TOO_MANY_REQUESTS
    return page


def _plain(request: HttpRequest, problem: exceptions.APIException) -> JsonResponse:
    document = problem_document(problem, request.path)
    if isinstance(problem, InternalError):
        logger.error("%s %s failed, correlation id %s", request.method, request.path, document["correlation_id"])
    return JsonResponse(document, status=problem.status_code, headers=_headers(problem), content_type=CONTENT_TYPE)


def _as_api_exception(error: BaseException | None) -> exceptions.APIException:
    match error:
        case exceptions.APIException():
            return error
        case Http404():
            return exceptions.NotFound()
        case PermissionDenied():
            return exceptions.PermissionDenied()
        case RequestDataTooBig():
            return TooLarge()
        case SuspiciousOperation() | BadRequest() | UnreadablePostError():
            return exceptions.ParseError("The request could not be read.")
        case Exception() if is_weather(error):
            logger.warning("the database did not answer: %s", error, exc_info=error)
            return Unavailable()
        case _:
            return InternalError()


def _headers(problem: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if challenge := getattr(problem, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(problem, "wait", None):
        headers["Retry-After"] = str(math.ceil(wait))
    return headers


def _details(detail: Any, field: str = "") -> Iterator[tuple[str | None, exceptions.ErrorDetail]]:
    """The single errors of a validation error, each with its field: ``lines.0.quantity``, None for the whole body."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _details(inner, field if name == "non_field_errors" else f"{field}.{name}".lstrip("."))
    elif isinstance(detail, list):
        for position, inner in enumerate(detail):
            nested = isinstance(inner, (dict, list))
            yield from _details(inner, f"{field}.{position}".lstrip(".") if nested else field)
    else:
        yield field or None, detail
