"""What the bank and the carrier tell us by themselves. They sign the body; nobody is logged in.

The participants store and apply an event once; what follows for the order and its saga is done
here, again at every repetition, so that a crash in between is mended by the sender's next try.
"""

from collections.abc import Callable
from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from payments import exceptions as payment_exceptions
from payments import services as payments
from sagas.exceptions import LockTaken
from shipping import exceptions as shipping_exceptions
from shipping import services as shipping
from shop.api.exceptions import OrderInProgress, WebhookInvalid
from shop.news import follow_payment, follow_shipment


class RawParser(BaseParser):
    """Any body as it came: the signature is over its bytes, not over what they mean."""

    media_type = "application/json"

    def parse(self, stream: object, media_type: object = None, parser_context: object = None) -> dict[str, object]:
        return {}


class Webhook(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = (RawParser,)
    problems: ClassVar = {"POST": (WebhookInvalid, OrderInProgress)}
    header = ""

    def answer(self, request: Request, receive: Callable[[bytes, str], None]) -> Response:
        receive(request.body, request.headers.get(self.header, ""))
        return Response(status=204)


class PaymentWebhook(Webhook):
    header = "Stripe-Signature"

    @extend_schema(
        operation_id="payment_webhook",
        summary="News from the bank",
        tags=["webhooks"],
        request=None,
        parameters=[OpenApiParameter("Stripe-Signature", str, OpenApiParameter.HEADER, required=True)],
        responses={204: OpenApiResponse(description="Stored. A repetition changes nothing.")},
    )
    def post(self, request: Request) -> Response:
        """A saga that waits to hear what became of a payment asks again at once."""
        return self.answer(request, _payment_news)


class ShippingWebhook(Webhook):
    header = "X-Hmac-Signature"

    @extend_schema(
        operation_id="shipping_webhook",
        summary="News from the carrier",
        tags=["webhooks"],
        request=None,
        parameters=[OpenApiParameter("X-Hmac-Signature", str, OpenApiParameter.HEADER, required=True)],
        responses={204: OpenApiResponse(description="Stored. A repetition changes nothing.")},
    )
    def post(self, request: Request) -> Response:
        """Tracking moves an order to shipped and to delivered, never back; a parcel that came back, its return."""
        return self.answer(request, _parcel_news)


def _payment_news(body: bytes, signature: str) -> None:
    try:
        follow_payment(payments.receive_event(body, signature))
    except payment_exceptions.InvalidEvent as error:
        raise WebhookInvalid(str(error)) from error


def _parcel_news(body: bytes, signature: str) -> None:
    try:
        event = shipping.receive_event(body, signature)
    except shipping_exceptions.InvalidEvent as error:
        raise WebhookInvalid(str(error)) from error
    try:
        follow_shipment(event)
    except LockTaken as error:
        # Not an error to log: the sender repeats what is not answered with 2xx, and if it gives up we tell it again.
        shipping.keep_open(event.event_id, str(error))
        raise OrderInProgress(str(error)) from error
