"""Sagas for staff programs: what runs, why it waits, and the operations of the admin."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, ClassVar, NoReturn
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.http import Http404
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework import generics
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sagas import denials, operations, outlook, preview
from sagas import exceptions as engine
from sagas.api.documents import saga_document, saga_summary
from sagas.api.exceptions import ActionIdReused, OperationRefused, StaleVersion
from sagas.api.serializers import (
    EditRequest,
    OperationAnswer,
    OperationRequest,
    OperationSerializer,
    PreviewAnswer,
    PreviewRequest,
    ReleaseRequest,
    RescheduleRequest,
    ResolveRequest,
    SagaDetailSerializer,
    SagaFilter,
    SagaSerializer,
    SkipRequest,
    StepRequest,
)
from sagas.models import Operation, SagaInstance
from sagas.selectors import with_steps


class MayViewSagas(BasePermission):
    """Staff with the permission to view sagas; each operation asks for its own besides."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.user.is_staff and request.user.has_perm("sagas.view_sagainstance"))


class SagaList(generics.GenericAPIView[SagaInstance]):
    permission_classes = (MayViewSagas,)
    serializer_class = SagaSerializer
    page_ordering = ("-id",)

    @extend_schema(
        operation_id="list_sagas",
        summary="List sagas",
        tags=["sagas"],
        parameters=[SagaFilter],
        responses=SagaSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Newest first, a page at a time; they are not counted."""
        asked = SagaFilter(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        columns = {"status": "status", "definition": "definition", "key": "business_key"}
        found = with_steps().filter(**{columns[name]: value for name, value in asked.validated_data.items()})
        page = self.paginate_queryset(found.order_by(*self.page_ordering))
        assert page is not None
        return self.get_paginated_response(SagaSerializer(page, many=True).data)


class SagaDetail(APIView):
    permission_classes = (MayViewSagas,)

    @extend_schema(operation_id="get_saga", summary="Show a saga", tags=["sagas"], responses=SagaDetailSerializer)
    def get(self, request: Request, saga_id: UUID) -> Response:
        """Its steps with both statuses, attempts with redacted errors, events, locks, and what you may do."""
        return Response(saga_document(saga_id, request.user))


class SagaPreview(APIView):
    permission_classes = (MayViewSagas,)
    problems: ClassVar = {"GET": (OperationRefused,)}

    @extend_schema(
        operation_id="preview_saga",
        summary="Preview an operation",
        tags=["sagas"],
        parameters=[PreviewRequest],
        responses=PreviewAnswer,
    )
    def get(self, request: Request, saga_id: UUID) -> Response:
        """What turning back or a retry would come to. Nothing of it stays; it needs the operation's permission."""
        asked = PreviewRequest(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        name, step = asked.validated_data["operation"], asked.validated_data.get("ask")
        operations.require(request.user, name, saga_id)  # type: ignore[arg-type]
        try:
            found = {
                "way_back": asdict(preview.way_back(saga_id, request.user)) if name == "compensate" else None,
                "outlook": [asdict(each) for each in outlook.outlook(saga_id)] if name == "retry" else None,
                "answer": asdict(outlook.ask(saga_id, step)) if name == "retry" and step else None,
            }
        except engine.UnknownSaga as error:
            raise Http404 from error
        except engine.OperationRefused as error:
            raise OperationRefused(str(error), saga_summary(saga_id)) from error
        return Response(PreviewAnswer(found).data)


class _Operate(APIView):
    """Does one operation and reports what came of it."""

    permission_classes = (MayViewSagas,)
    problems: ClassVar = {"POST": (StaleVersion, OperationRefused, ActionIdReused)}
    request_class: type[OperationRequest] = OperationRequest
    operation: Callable[..., Operation]

    def permission_denied(self, request: Request, message: str | None = None, code: str | None = None) -> NoReturn:
        """Who may not even see sagas is written down as well, if they say who they are."""
        if isinstance(request.user, User):
            why = "You may not view sagas."
            denials.write_down(request.user, self.operation.__name__, why, saga_id=self.kwargs["saga_id"])
        super().permission_denied(request, message, code)

    def post(self, request: Request, saga_id: UUID) -> Response:
        # Before the body is read: what is denied is denied, however it was asked for.
        operations.require(request.user, self.operation.__name__, saga_id)  # type: ignore[arg-type]
        asked = self.request_class(data=request.data)
        asked.is_valid(raise_exception=True)
        said = dict(asked.validated_data)
        wait_seconds = said.pop("wait_seconds")
        action = operations.Request(
            id=said.pop("action_id", None) or uuid4(),
            actor=request.user,  # type: ignore[arg-type]  # the permission lets nobody else in
            reason=said.pop("reason"),
            version=said.pop("version"),
        )
        done = self._operate(saga_id, action, said)
        outcome = operations.follow(done, seconds=wait_seconds)
        answer = {"operation": OperationSerializer(done).data, "outcome": outcome, "saga": saga_summary(saga_id)}
        return Response(answer)

    def _operate(self, saga_id: UUID, action: operations.Request, said: dict[str, Any]) -> Operation:
        try:
            return type(self).operation(saga_id, action, **said)
        except engine.UnknownSaga as error:
            raise Http404 from error
        except engine.StaleVersion as error:
            raise StaleVersion(str(error), saga_summary(saga_id)) from error
        except engine.ActionIdReused as error:
            raise ActionIdReused from error
        except engine.OperationRefused as error:
            raise OperationRefused(str(error), saga_summary(saga_id)) from error


def _operation(
    operation: Callable[..., Operation], summary: str, example: dict[str, Any], asked: type[OperationRequest]
) -> type[_Operate]:
    """The view of an operation, documented by the operation's own first line."""
    name = operation.__name__
    documented = extend_schema_view(
        post=extend_schema(
            operation_id=f"{name}_saga",
            summary=summary,
            description=(operation.__doc__ or "").partition("Raises")[0].strip(),
            tags=["sagas"],
            request=asked,
            responses={200: OperationAnswer},
            examples=[OpenApiExample(summary, {"version": 7, **example}, request_only=True)],
        )
    )
    view: type[_Operate] = documented(
        type(name.capitalize(), (_Operate,), {"operation": staticmethod(operation), "request_class": asked})
    )
    return view


OPERATIONS = {
    "retry": _operation(operations.retry, "Retry", {"reason": "The bank is back."}, OperationRequest),
    "edit": _operation(
        operations.edit,
        "Edit and retry",
        {"reason": "The traveller's name was misspelt.", "payload": {"traveller": "Ada"}},
        EditRequest,
    ),
    "compensate": _operation(
        operations.compensate, "Compensate", {"reason": "The customer called to cancel."}, OperationRequest
    ),
    "resolve": _operation(
        operations.resolve,
        "Resolve an unknown outcome",
        {"reason": "The bank's page shows no such payment.", "step": "authorize_payment", "happened": False},
        ResolveRequest,
    ),
    "confirm": _operation(
        operations.confirm,
        "Confirm a proposed outcome",
        {"reason": "I see no such payment at the bank, either.", "step": "capture_payment"},
        StepRequest,
    ),
    "pause": _operation(operations.pause, "Pause", {"reason": "The carrier asked us to wait."}, OperationRequest),
    "resume": _operation(operations.resume, "Resume", {"reason": "The carrier is ready."}, OperationRequest),
    "reschedule": _operation(
        operations.reschedule,
        "Move a time limit",
        {"reason": "The customer is on holiday.", "step": "parcel_back", "at": "2030-01-31T12:00:00Z"},
        RescheduleRequest,
    ),
    "skip": _operation(
        operations.skip,
        "Skip a step",
        {"reason": "The address does not exist.", "step": "send_confirmation"},
        SkipRequest,
    ),
    "waive": _operation(
        operations.waive,
        "Waive a compensation",
        {"reason": "The carrier keeps the fee; booked as a loss.", "step": "book_shipment"},
        StepRequest,
    ),
    "release": _operation(
        operations.release,
        "Release a lock",
        {"reason": "The order has to be corrected today.", "lock": "shop.order 7F3K2M9X"},
        ReleaseRequest,
    ),
    "abandon": _operation(operations.abandon, "Abandon", {"reason": "Settled by hand, ticket 4711."}, OperationRequest),
    "review": _operation(operations.review, "Review", {"reason": "The refund was made by hand."}, OperationRequest),
}
