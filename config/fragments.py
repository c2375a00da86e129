"""Parts of a page that it fetches again and again, once nobody is logged in any more."""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import reverse
from django_htmx.http import HttpResponseClientRefresh

Responder = Callable[[HttpRequest], HttpResponse]


def whole_page_logs_in(get_response: Responder) -> Responder:
    """Middleware: where a part would be replaced by the login form, the whole page is loaded again, and leads there."""

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not (request.headers.get("HX-Request") and isinstance(response, HttpResponseRedirect)):
            return response
        to_login = urlsplit(response.url).path in (reverse("admin:login"), resolve_url(settings.LOGIN_URL))
        return HttpResponseClientRefresh() if to_login else response

    return respond
