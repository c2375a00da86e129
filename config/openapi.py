"""The OpenAPI document: each operation with the problems it answers."""

from collections.abc import Iterable
from typing import Any

from drf_spectacular.authentication import SessionScheme
from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent
from rest_framework import exceptions
from rest_framework.permissions import AllowAny

from config.authentication import ForeignOrigin
from config.problems import CONTENT_TYPE, InternalError, TooLarge, Unavailable, problem_document

PROBLEM = {
    "type": "object",
    "description": "What went wrong (RFC 9457). Members that are not listed here belong to the problem's type.",
    "required": ["type", "title", "status", "detail", "instance", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Stable; a page that explains it."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri-reference", "description": "The path that was asked for."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message", "code"],
                "properties": {
                    "field": {
                        "type": "string",
                        "nullable": True,
                        "description": "`lines.0.quantity`, the name of a header or a parameter; null: the whole body.",
                    },
                    "message": {"type": "string"},
                    "code": {"type": "string"},
                },
            },
        },
        "correlation_id": {"type": "string", "format": "uuid", "description": "Only with 500: finds it in our log."},
    },
    "additionalProperties": True,
}


class SameOriginSessionScheme(SessionScheme):  # type: ignore[no-untyped-call]
    """Our session is a session to the OpenAPI document, too."""

    target_class = "config.authentication.SameOriginSession"


class TokensScheme(KnoxTokenScheme):  # type: ignore[no-untyped-call]
    target_class = "config.authentication.Tokens"
    name = "token"


class ProblemAutoSchema(AutoSchema):
    """Adds the problem documents: the common ones, and the view's own ``problems`` (method to exceptions)."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> dict[str, Any] | None:
        operation = super().get_operation(path, path_regex, path_prefix, method, registry)
        if operation is None:
            return None
        component = ResolvedComponent(  # type: ignore[no-untyped-call]
            name="Problem", type=ResolvedComponent.SCHEMA, schema=PROBLEM, object="Problem"
        )
        registry.register_on_missing(component)
        responses = operation["responses"]
        for kind in self._problems(operation):
            response = responses.setdefault(
                str(kind.status_code),
                {"description": "", "content": {CONTENT_TYPE: {"schema": component.ref, "examples": {}}}},
            )
            response["description"] = "\n\n".join(filter(None, [response["description"], _what(kind)]))
            response["content"][CONTENT_TYPE]["examples"][kind.__name__] = {"value": _example(kind, path)}
            if getattr(kind, "wait", None) or kind is exceptions.Throttled:
                response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
        operation["responses"] = dict(sorted(responses.items()))
        return operation

    def _problems(self, operation: dict[str, Any]) -> Iterable[type[exceptions.APIException]]:
        if "requestBody" in operation:
            yield from (exceptions.ValidationError, exceptions.ParseError, TooLarge, exceptions.UnsupportedMediaType)
        elif any(parameter["in"] == "query" for parameter in operation.get("parameters", [])):
            yield exceptions.ValidationError
        if self.view.authentication_classes:
            yield exceptions.AuthenticationFailed
            needs_somebody = AllowAny not in self.view.permission_classes
            if needs_somebody:
                yield exceptions.NotAuthenticated
            if needs_somebody or self.method != "GET":
                yield exceptions.PermissionDenied
            if self.method != "GET":
                yield ForeignOrigin
        if "{" in self.path:
            yield exceptions.NotFound
        if self.method in getattr(self.view, "throttle_scopes", {}):
            yield exceptions.Throttled
        yield from getattr(self.view, "problems", {}).get(self.method, ())
        yield from (InternalError, Unavailable)


def _what(kind: type[exceptions.APIException]) -> str:
    document = problem_document(kind_instance(kind), "")
    return f"`{document['type']}`: {document['title']}."


def _example(kind: type[exceptions.APIException], path: str) -> dict[str, Any]:
    document = problem_document(kind_instance(kind), path)
    if "correlation_id" in document:
        document["correlation_id"] = "0198c1f2-7c1e-4a53-9f0e-3a5b8c1d2e4f"
    return document


def kind_instance(kind: type[exceptions.APIException]) -> exceptions.APIException:
    """The exception as it is raised when nothing more is known."""
    if issubclass(kind, exceptions.UnsupportedMediaType):
        return kind("text/plain")
    if issubclass(kind, exceptions.MethodNotAllowed):
        return kind("PUT")
    return kind()
