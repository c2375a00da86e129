"""The circuits to the services outside, in the admin: where they stand, and closing one by hand."""

import redis
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from circuit_breaker import Circuit, CircuitBreaker
from sagas.admin.health import Health, register_services

SERVICES = ("bank", "carrier")
PERMISSION = "sagas.retry_saga"


def circuits() -> list[Circuit] | None:
    """Where each circuit stands; None when Redis, which knows, is away."""
    try:
        return [CircuitBreaker(name).state() for name in SERVICES]
    except redis.RedisError:
        return None


def health_of_circuits() -> list[Health]:
    """For the dashboard: the circuit to each service; nothing where nobody can tell."""
    page = reverse("circuits")
    return [
        Health(f"Circuit to the {circuit.name}", circuit.state == "closed", circuit.state, page)
        for circuit in circuits() or ()
    ]


register_services(health_of_circuits)


def circuits_page(request: HttpRequest) -> HttpResponse:
    """For staff who may see sagas; who may retry them may close a circuit."""
    if not request.user.has_perm("sagas.view_sagainstance"):
        raise PermissionDenied("You may not see the circuits.")
    context = {
        **admin.site.each_context(request),
        "title": "Circuits",
        "circuits": circuits(),
        "failures": settings.CIRCUIT_BREAKER_FAILURES,
        "may_close": request.user.has_perm(PERMISSION),
    }
    return TemplateResponse(request, "admin/circuits.html", context)


@require_POST
def close_circuit(request: HttpRequest, name: str) -> HttpResponse:
    """Let calls through again at once; what they come to decides how long."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied("You may not close a circuit.")
    if name not in SERVICES:
        raise Http404(f"There is no circuit to {name}.")
    CircuitBreaker(name).reset()
    messages.success(request, f"The circuit to the {name} is closed: the next call goes through.")
    return redirect("circuits")
