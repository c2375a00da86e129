"""What may be asked for an order that was placed, for client programs; and what staff tell of a return."""

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sagas import selectors as sagas
from sagas.states import SagaStatus
from shop.after_sales import Asked, ask_to_cancel, ask_to_readdress, ask_to_return, inspect_return, receive_return
from shop.api.exceptions import NotForThisOrder
from shop.api.fields import Integer, Text
from shop.api.following import in_progress
from shop.api.orders import ADDRESS_EXAMPLE, visible_order
from shop.api.serializers import AddressSerializer
from shop.exceptions import InspectionMismatch, WishRefused
from shop.models import MAX_LINES, MAX_QUANTITY, MAX_REASON, Order
from shop.services import Address

_TOKEN = OpenApiParameter(
    "X-Order-Token", str, OpenApiParameter.HEADER, description="The order's access token, for guests."
)
_SAGA = "0198c1f2-7c1e-7a53-9f0e-3a5b8c1d2e4f"


class WishRequest(serializers.Serializer[Any]):
    reason = Text(
        max_length=MAX_REASON, required=False, allow_blank=True, default="", help_text="In the shopper's words."
    )


class BrokenLine(serializers.Serializer[Any]):
    sku = Text(max_length=32)
    quantity = Integer(min_value=1, max_value=MAX_QUANTITY)


class InspectionRequest(serializers.Serializer[Any]):
    accepted = serializers.BooleanField(help_text="Whether the goods are taken back and the money is returned.")
    reason = Text(
        max_length=MAX_REASON,
        required=False,
        allow_blank=True,
        default="",
        help_text="Told to the customer; needed when the goods are not accepted.",
    )
    broken = serializers.ListField(
        child=BrokenLine(),
        max_length=MAX_LINES,
        required=False,
        default=list,
        help_text="What cannot be sold again. Everything else goes back on sale.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs["accepted"] and not attrs["reason"]:
            raise ValidationError({"reason": "Say why, in words for the customer."})
        return attrs


class AskedSerializer(serializers.Serializer[Any]):
    """The saga that carries the wish out. What becomes of it is told by the order."""

    saga = serializers.UUIDField(source="saga_id")
    definition = serializers.CharField(help_text="`shop.checkout` when the checkout itself turns back.")
    status = serializers.ChoiceField(choices=[status.value for status in SagaStatus])


def _asked_example(definition: str, status: str = "PENDING") -> OpenApiExample:
    body = {"saga": _SAGA, "definition": definition, "status": status}
    return OpenApiExample("Asked", body, response_only=True, status_codes=["202"])


class OrderWish(APIView):
    """What its customer may ask for an order, or staff for them."""

    permission_classes = (AllowAny,)
    throttle_scopes: ClassVar = {"POST": "orders"}
    problems: ClassVar = {"POST": (NotForThisOrder,)}

    def order(self, request: Request, number: str) -> Order:
        order = visible_order(request, number)
        _check_may_change(request, order)
        return order

    def answer(self, request: Request, number: str, ask: Callable[..., Asked]) -> Response:
        order = self.order(request, number)
        wish = WishRequest(data=request.data)
        wish.is_valid(raise_exception=True)
        return _answer(order, lambda: ask(order.number, wish.validated_data["reason"], actor=_actor(request, order)))


class OrderCancel(OrderWish):
    @extend_schema(
        operation_id="cancel_order",
        summary="Cancel an order",
        tags=["orders"],
        request=WishRequest,
        parameters=[_TOKEN],
        responses={202: OpenApiResponse(AskedSerializer, "Asked for. The order tells what becomes of it.")},
        examples=[
            OpenApiExample("Cancel", {"reason": "I found it at home."}, request_only=True),
            _asked_example("shop.cancel_order"),
        ],
    )
    def post(self, request: Request, number: str) -> Response:
        """A checkout that has not taken the money turns back. Afterwards a saga of its own gives the parcel's label
        back, then the money and the goods; it waits in line while a checkout that is past turning back ends.

        Safe to repeat without a key: there is one cancellation of an order, and a repetition is answered with it.
        A parcel that is on its way cannot be stopped: then the order stands and can be returned.
        """
        return self.answer(request, number, ask_to_cancel)


class OrderReturns(OrderWish):
    @extend_schema(
        operation_id="return_order",
        summary="Return an order",
        tags=["orders"],
        request=WishRequest,
        parameters=[_TOKEN],
        responses={202: OpenApiResponse(AskedSerializer, "Asked for. The saga waits for the parcel, 14 days at most.")},
        examples=[
            OpenApiExample("Return", {"reason": "Too heavy."}, request_only=True),
            _asked_example("shop.return"),
        ],
    )
    def post(self, request: Request, number: str) -> Response:
        """For an order that was sent. The money goes back when the parcel is here and a person has accepted the goods.

        Safe to repeat without a key: an order has one return at a time, and a repetition is answered with it.
        After one whose parcel never came another can be asked for.
        """
        return self.answer(request, number, ask_to_return)


class OrderAddress(OrderWish):
    @extend_schema(
        operation_id="change_address",
        summary="Send an order elsewhere",
        tags=["orders"],
        request=AddressSerializer,
        parameters=[_TOKEN],
        responses={202: OpenApiResponse(AskedSerializer, "Asked for. The order tells what becomes of it.")},
        examples=[
            OpenApiExample("Another town", ADDRESS_EXAMPLE, request_only=True),
            _asked_example("shop.change_address", "WAITING"),
        ],
    )
    def post(self, request: Request, number: str) -> Response:
        """For an order that was not handed over. A saga books another parcel and then gives the first label back.

        While another saga holds the order it waits in line. Safe to repeat without a key: the same address is answered
        with the same saga, another one while that is under way with 409.
        """
        order = self.order(request, number)
        wished = AddressSerializer(data=request.data)
        wished.is_valid(raise_exception=True)
        address = Address(**wished.validated_data)
        return _answer(order, lambda: ask_to_readdress(order.number, address, actor=_actor(request, order)))


class ReturnNews(APIView):
    """What staff tell of a return: for those who may handle returns."""

    permission_classes = (AllowAny,)
    problems: ClassVar = {"POST": (NotForThisOrder,)}


class ReturnReceived(ReturnNews):
    @extend_schema(
        operation_id="receive_return",
        summary="Tell that a returned parcel is here",
        tags=["orders"],
        request=None,
        responses={202: OpenApiResponse(AskedSerializer, "Told. The saga goes on to the inspection.")},
        examples=[_asked_example("shop.return", "RUNNING")],
    )
    def post(self, request: Request, number: str) -> Response:
        """For staff with `shop.handle_returns`. Safe to repeat; the carrier may have told the same before."""
        order = _order_for_staff(request, number)
        return _answer(order, lambda: receive_return(order.number, by=_username(request)))


class ReturnInspection(ReturnNews):
    @extend_schema(
        operation_id="inspect_return",
        summary="Tell what was found in a returned parcel",
        tags=["orders"],
        request=InspectionRequest,
        responses={202: OpenApiResponse(AskedSerializer, "Told. The saga refunds, or turns back.")},
        examples=[
            OpenApiExample(
                "One mug is broken",
                {"accepted": True, "broken": [{"sku": "MUG-1", "quantity": 1}]},
                request_only=True,
            ),
            OpenApiExample("Not accepted", {"accepted": False, "reason": "The mugs were used."}, request_only=True),
            _asked_example("shop.return", "RUNNING"),
        ],
    )
    def post(self, request: Request, number: str) -> Response:
        """For staff with `shop.handle_returns`. The first verdict stands; a second one is answered with 409."""
        order = _order_for_staff(request, number)
        told = InspectionRequest(data=request.data)
        told.is_valid(raise_exception=True)
        verdict = told.validated_data
        skus = [line["sku"] for line in verdict["broken"]]
        broken: dict[str, int] = {}
        for line in verdict["broken"]:
            broken[line["sku"]] = broken.get(line["sku"], 0) + line["quantity"]
        try:
            return _answer(
                order,
                lambda: inspect_return(
                    order.number,
                    accepted=verdict["accepted"],
                    by=_username(request),
                    reason=verdict["reason"],
                    broken=broken,
                ),
            )
        except InspectionMismatch as mismatch:
            raise ValidationError({f"broken.{skus.index(mismatch.sku)}.sku": str(mismatch)}) from mismatch


def _answer(order: Order, ask: Callable[[], Asked]) -> Response:
    try:
        asked = ask()
    except WishRefused as refusal:
        _refuse(order, refusal)
    return Response(AskedSerializer(asked).data, status=202, headers={"Cache-Control": "no-store"})


def _refuse(order: Order, refusal: WishRefused) -> NoReturn:
    holder = sagas.lock_holder("shop.order", order.number) or sagas.lock_holder("shop.return", order.number)
    raise NotForThisOrder(str(refusal), refusal.instead, in_progress(holder) if holder else None) from refusal


def _check_may_change(request: Request, order: Order) -> None:
    """Who sees an order only because they serve the shop needs the permission to change it."""
    if _actor(request, order) != "customer" and not request.user.has_perm("shop.change_order"):
        raise PermissionDenied


def _order_for_staff(request: Request, number: str) -> Order:
    order = visible_order(request, number)
    user = request.user
    if not (user.is_authenticated and user.is_staff and user.has_perm("shop.handle_returns")):
        raise PermissionDenied
    return order


def _actor(request: Request, order: Order) -> str:
    is_customer = request.user.is_anonymous or order.user_id == request.user.pk or not request.user.is_staff
    return "customer" if is_customer else _username(request)


def _username(request: Request) -> str:
    return str(request.user.get_username())
