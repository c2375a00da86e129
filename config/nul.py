"""Text that PostgreSQL cannot hold, in an address of the admin."""

from collections.abc import Callable
from urllib.parse import unquote

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

Responder = Callable[[HttpRequest], HttpResponse]


def no_nul_in_the_admin(get_response: Responder) -> Responder:
    """Middleware: a NUL in an address of the admin is a bad request.

    Every list hands its filters to PostgreSQL, those of other packages too, and PostgreSQL refuses a NUL. What is
    typed into a form is left to the form, which says so beside the field.
    """

    def respond(request: HttpRequest) -> HttpResponse:
        address = f"{request.path}?{unquote(request.META.get('QUERY_STRING', ''))}"
        if "\0" in address and request.path.startswith(reverse("admin:index")):
            raise BadRequest("A NUL is no part of an address.")
        return get_response(request)

    return respond
