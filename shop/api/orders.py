"""Placing an order and following it, for client programs."""

from typing import Any, ClassVar, NoReturn

from django.contrib.auth.models import User
from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sagas import selectors as sagas
from shop.api.exceptions import (
    IdempotencyKeyInUse,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    MixedCurrenciesInOrder,
    OutOfStockForOrder,
    UnknownProductInOrder,
)
from shop.api.following import order_document
from shop.api.idempotency import answer_once
from shop.api.serializers import OrderRequest, OrderSerializer, PlacedOrder
from shop.exceptions import MixedCurrencies, NotEnoughStock, OrderRefused, UnknownProduct
from shop.models import IdempotencyKey, Order
from shop.selectors import CHECKOUTS
from shop.services import Address, access_token_of, opens_order, place_order

ADDRESS_EXAMPLE = {
    "name": "Ada Lovelace",
    "line1": "12 St James's Square",
    "city": "Dublin",
    "postal_code": "D02",
    "country": "IE",
}
_EXAMPLE = {
    "email": "ada@example.org",
    "lines": [{"sku": "MUG-1", "quantity": 2}],
    "shipping_address": ADDRESS_EXAMPLE,
    "payment_token": "pm_card_visa",
}
_PLACED = {
    "number": "S-7KQ2MX4D9A",
    "status": "pending",
    "total": {"amount": "39.98", "currency": "EUR"},
    "saga": "0198c1f2-7c1e-7a53-9f0e-3a5b8c1d2e4f",
    "access_token": "3f1c…",
}


class OrderList(APIView):
    permission_classes = (AllowAny,)
    throttle_scopes: ClassVar = {"POST": "orders"}
    problems: ClassVar[dict[str, tuple[type[APIException], ...]]] = {
        "POST": (
            IdempotencyKeyMissing,
            IdempotencyKeyInvalid,
            IdempotencyKeyInUse,
            OutOfStockForOrder,
            IdempotencyKeyReused,
            UnknownProductInOrder,
            MixedCurrenciesInOrder,
        )
    }

    @extend_schema(
        operation_id="place_order",
        summary="Place an order",
        tags=["orders"],
        request=OrderRequest,
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                {"type": "string", "pattern": "^[!-~]{16,128}$"},
                OpenApiParameter.HEADER,
                required=True,
                description="Random and of your own making, such as a UUID; the same when the request is repeated.",
            ),
            OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[202], description="The order."),
        ],
        responses={202: OpenApiResponse(PlacedOrder, "The order is stored and its saga has started.")},
        examples=[
            OpenApiExample("Two mugs", _EXAMPLE, request_only=True),
            OpenApiExample("Placed", _PLACED, response_only=True, status_codes=["202"]),
        ],
    )
    def post(self, request: Request) -> Response:
        """Stores the order and starts its saga, in one commit; what becomes of it is told at `Location`.

        Repeated with the same `Idempotency-Key` and body, the answer is the same and nothing happens twice.
        A refused request leaves nothing behind, and its key may be used again.
        Prices come from the catalogue; a price in the request is ignored.
        """
        asked = OrderRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        row, is_replay = answer_once(request, lambda row: _place(row, request, asked.validated_data))
        assert row.order is not None
        headers = {"Location": reverse("api-order", args=[row.order.number]), "Cache-Control": "no-store"}
        if is_replay:
            headers["Idempotency-Replayed"] = "true"
        return Response(_answer(row), status=row.response_status, headers=headers)


class OrderDetail(APIView):
    permission_classes = (AllowAny,)

    @extend_schema(
        operation_id="get_order",
        summary="Follow an order",
        tags=["orders"],
        parameters=[
            OpenApiParameter(
                "X-Order-Token", str, OpenApiParameter.HEADER, description="The order's access token, for guests."
            )
        ],
        responses=OrderSerializer,
    )
    def get(self, request: Request, number: str) -> Response:
        """For the customer, for whoever has the order's access token, and for staff who may view orders.

        Everybody else gets the answer of an order that does not exist.
        """
        order = visible_order(request, number)
        return Response(OrderSerializer(order_document(order)).data, headers={"Cache-Control": "no-store"})


def _place(row: IdempotencyKey, request: Request, asked: dict[str, Any]) -> None:
    lines = [(line["sku"], line["quantity"]) for line in asked["lines"]]
    try:
        order, _ = place_order(
            email=asked["email"],
            lines=lines,
            address=Address(**asked["shipping_address"]),
            payment_method=asked["payment_token"],
            mode=asked.get("mode", ""),
            user=request.user if isinstance(request.user, User) else None,
        )
    except OrderRefused as refusal:
        _refuse(refusal, [sku for sku, _ in lines])
    saga = sagas.saga_of(CHECKOUTS[order.mode], order.number)
    assert saga is not None
    row.order = order
    row.response_status = 202
    row.response_body = {"number": order.number, "status": order.status, "saga": str(saga.id)}


def _answer(row: IdempotencyKey) -> dict[str, Any]:
    """The answer as it was given first. The access token is not stored with it: it is derived again."""
    assert row.order is not None
    assert row.response_body is not None
    told = PlacedOrder({**row.response_body, "total": row.order.total, "access_token": access_token_of(row.order)})
    return dict(told.data)


def _refuse(refusal: OrderRefused, skus: list[str]) -> NoReturn:
    """The shop's refusal with the field at fault as the client wrote it."""
    sku = getattr(refusal, "sku", None)
    line = f"lines.{skus.index(sku)}" if sku in skus else refusal.field
    match refusal:
        case UnknownProduct():
            raise UnknownProductInOrder({f"{line}.sku": str(refusal)}) from refusal
        case NotEnoughStock():
            raise OutOfStockForOrder({f"{line}.quantity": str(refusal)}, refusal.available) from refusal
        case MixedCurrencies():
            raise MixedCurrenciesInOrder({line: str(refusal)}) from refusal
        case _:
            raise ValidationError({f"{line}.quantity" if sku else line: str(refusal)}) from refusal


def visible_order(request: Request, number: str) -> Order:
    """The order, for its customer, for a holder of its access token, and for staff; else `Http404`."""
    token = request.headers.get("X-Order-Token", "")
    order = Order.objects.filter(number=number).prefetch_related("lines").first()
    if order is None:
        raise Http404
    user = request.user
    owns = user.is_authenticated and order.user_id == user.pk
    serves = user.is_authenticated and user.is_staff and user.has_perm("shop.view_order")
    if owns or serves or opens_order(order, token):
        return order
    raise Http404
