"""The gateway port on Stripe's official SDK: PaymentIntents with manual capture.

An authorization is two calls. The intent is created first, unconfirmed, under a key of its own; only
its confirmation holds money. So whoever has the key can always find the intent, by creating it
again, and cancel it, after which a confirmation still under way fails. Stripe forgets keys after
a day: therefore intents are also looked up by our reference, in a search that lags by a minute.
(https://docs.stripe.com/payments/paymentintents/lifecycle, https://docs.stripe.com/api/idempotent_requests)
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import stripe

from guarded_http import Deadline, GuardedSession
from payments.adapters.stripe_errors import amount_refusals, decline_of, is_unexpected_state, translated
from payments.exceptions import AlreadyCaptured, AlreadyVoided, Declined, NotDone, OutcomeUnknown
from payments.gateway import (
    Authorization,
    AuthorizationRequest,
    Capture,
    CaptureRequest,
    GatewayPayment,
    RefundReceipt,
    RefundRequest,
    VoidRequest,
)

# Telemetry would send the platform's name with every call and keep a file in the home folder.
stripe.enable_telemetry = False

_STATUSES = {"requires_capture": "AUTHORIZED", "succeeded": "CAPTURED", "canceled": "VOIDED"}


class StripeGateway:
    """Talks to Stripe, or to whatever speaks Stripe's shape at ``url``."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url, self._api_key = url.rstrip("/"), api_key
        self._session = GuardedSession("bank")

    def authorize(self, request: AuthorizationRequest, *, key: str, timeout: timedelta) -> Authorization:
        deadline = Deadline(timeout)
        intent = self._create_intent(request, key, deadline)
        with translated():
            try:
                intent = self._client(deadline).v1.payment_intents.confirm(
                    intent.id,
                    {"payment_method": request.payment_method, "error_on_requires_action": True},
                    {"idempotency_key": f"{key}:confirm"},
                )
            except stripe.InvalidRequestError as error:
                if not is_unexpected_state(error):
                    raise
                intent = self._retrieve(intent.id, deadline)
        if intent.status == "canceled":
            raise AlreadyVoided(request.reference)
        return _authorization(intent, request)

    def find_authorization(self, request: AuthorizationRequest, *, key: str, timeout: timedelta) -> Authorization:
        deadline = Deadline(timeout)
        created = self._create_intent(request, key, deadline)
        with translated():
            intent = self._retrieve(created.id, deadline)  # the creation's answer is a stored one, perhaps old
            for other in self._search(request.reference, deadline):
                intent = other if other.status == "requires_capture" else intent
        if intent.status == "canceled":
            raise NotDone("the payment intent is cancelled")
        decline = decline_of(intent)
        if intent.status == "requires_payment_method" and decline is not None:
            raise decline
        return _authorization(intent, request)

    def void(self, request: VoidRequest, *, key: str, timeout: timedelta) -> None:
        if request.request is None:
            return  # no intent was ever asked for, and our tombstone refuses it from now on
        deadline = Deadline(timeout)
        if request.intent_id is not None:
            self._cancel(request.intent_id, request.reference, key, deadline)
            return
        created_id = ""
        with suppress(Declined):  # what the bank does not even create holds no money
            created_id = self._create_intent(request.request, request.authorization_key, deadline).id
        if created_id:
            self._cancel(created_id, request.reference, key, deadline)
        with translated():
            others = self._search(request.reference, deadline)
        for other in others:
            if other.id != created_id and other.status != "canceled":
                self._cancel(other.id, request.reference, key, deadline)

    def _cancel(self, intent_id: str, reference: str, key: str, deadline: Deadline) -> None:
        with translated():
            try:
                intent = self._client(deadline).v1.payment_intents.cancel(
                    intent_id, {"cancellation_reason": "abandoned"}, {"idempotency_key": f"{key}:cancel:{intent_id}"}
                )
            except stripe.InvalidRequestError as error:
                if not is_unexpected_state(error):
                    raise
                intent = self._retrieve(intent_id, deadline)
        if intent.status == "succeeded":
            raise AlreadyCaptured(reference)
        if intent.status != "canceled":
            raise OutcomeUnknown(f"after the void the payment intent is {intent.status}")

    def capture(self, request: CaptureRequest, *, key: str, timeout: timedelta) -> Capture:
        deadline = Deadline(timeout)
        with translated():
            try:
                intent = self._client(deadline).v1.payment_intents.capture(
                    request.intent_id,
                    {"amount_to_capture": request.amount},
                    {"idempotency_key": f"{key}:capture"},
                )
            except stripe.InvalidRequestError as error:
                if not is_unexpected_state(error):
                    raise
                intent = self._retrieve(request.intent_id, deadline)
        if intent.status == "canceled":
            raise Declined("authorization_expired", "The bank no longer holds the money for this order.")
        return _capture(intent, request)

    def find_capture(self, request: CaptureRequest, *, timeout: timedelta) -> Capture:
        with translated():
            intent = self._retrieve(request.intent_id, Deadline(timeout))
        if intent.status == "canceled":
            raise NotDone("the payment intent is cancelled")
        return _capture(intent, request)

    def refund(self, request: RefundRequest, *, key: str, timeout: timedelta) -> RefundReceipt:
        with translated():
            try:
                refund = self._client(Deadline(timeout)).v1.refunds.create(
                    {
                        "payment_intent": request.intent_id,
                        "amount": request.amount,
                        "metadata": {"refund_reference": request.refund_reference},
                    },
                    {"idempotency_key": f"{key}:refund"},
                )
            except stripe.InvalidRequestError as error:
                if error.code == "charge_already_refunded":
                    raise Declined("already_refunded", "This payment was already refunded.") from error
                raise
        return _refund(refund, request)

    def find_refund(self, request: RefundRequest, *, timeout: timedelta) -> RefundReceipt:
        with translated():
            refunds = self._client(Deadline(timeout)).v1.refunds.list(
                {"payment_intent": request.intent_id, "limit": 100}
            )
            for refund in refunds.data:
                if _metadata(refund).get("refund_reference") == request.refund_reference:
                    return _refund(refund, request)
        raise OutcomeUnknown("the gateway lists no such refund; one may still be under way")

    def payments_since(self, moment: datetime, *, timeout: timedelta) -> Iterator[GatewayPayment]:
        with translated():
            pages = self._client(Deadline(timeout)).v1.payment_intents.list(
                {"created": {"gte": int(moment.timestamp())}, "limit": 100, "expand": ["data.latest_charge"]}
            )
            for intent in pages.auto_paging_iter():
                yield _gateway_payment(intent)

    def _client(self, deadline: Deadline) -> stripe.StripeClient:
        """A client for one call: its time-outs are what is left of the deadline; the connections are shared."""
        http = stripe.RequestsClient(timeout=deadline.limits(), session=self._session)
        return stripe.StripeClient(
            self._api_key, base_addresses={"api": self._url}, max_network_retries=0, http_client=http
        )

    def _create_intent(self, request: AuthorizationRequest, key: str, deadline: Deadline) -> Any:
        """Create the intent, or get the one this key created before: the same body, the same key.

        Raises `Declined` for an amount that the bank does not take.
        """
        with translated(), amount_refusals():
            intent = self._client(deadline).v1.payment_intents.create(
                {
                    "amount": request.amount,
                    "currency": request.currency.lower(),
                    "capture_method": "manual",
                    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                    "metadata": {"reference": request.reference},
                },
                {"idempotency_key": f"{key}:create"},
            )
            _check(intent, request.amount, request.currency)
            if _metadata(intent).get("reference") != request.reference:
                raise OutcomeUnknown("the gateway answered with a payment intent of another order")
        return intent

    def _search(self, reference: str, deadline: Deadline) -> list[Any]:
        quoted = reference.replace("\\", "\\\\").replace("'", "\\'")
        found = self._client(deadline).v1.payment_intents.search({"query": f"metadata['reference']:'{quoted}'"})
        return [intent for intent in found.data if _metadata(intent).get("reference") == reference]

    def _retrieve(self, intent_id: str, deadline: Deadline) -> Any:
        return self._client(deadline).v1.payment_intents.retrieve(intent_id)


def _authorization(intent: Any, request: AuthorizationRequest) -> Authorization:
    with translated():
        if intent.status != "requires_capture":
            raise OutcomeUnknown(f"the payment intent is {intent.status}, not authorized")
        _check(intent, request.amount, request.currency)
        if intent.amount_capturable != request.amount or _metadata(intent).get("reference") != request.reference:
            raise OutcomeUnknown("the gateway authorized something else than was asked")
        return Authorization(intent.id, intent.amount, request.currency)


def _capture(intent: Any, request: CaptureRequest) -> Capture:
    with translated():
        if intent.status != "succeeded":
            raise OutcomeUnknown(f"the payment intent is {intent.status}, not captured")
        _check(intent, request.amount, request.currency)
        if intent.id != request.intent_id or intent.amount_received != request.amount:
            raise OutcomeUnknown("the gateway captured something else than was asked")
        return Capture(intent.id, intent.amount_received, request.currency)


def _refund(refund: Any, request: RefundRequest) -> RefundReceipt:
    with translated():
        if refund.status in ("failed", "canceled"):
            raise Declined("refund_failed", "The bank could not give the money back.")
        _check(refund, request.amount, request.currency)
        if refund.status not in ("succeeded", "pending") or refund.payment_intent != request.intent_id:
            raise OutcomeUnknown(f"the refund is {refund.status}")
        return RefundReceipt(refund.id, refund.amount, request.currency)


def _check(answer: Any, amount: int, currency: str) -> None:
    if not isinstance(answer.id, str) or answer.amount != amount or answer.currency != currency.lower():
        raise OutcomeUnknown("the gateway's answer names another amount or currency than was asked")


def _metadata(answer: Any) -> dict[str, Any]:
    return dict(answer.metadata.to_dict())


def _gateway_payment(intent: Any) -> GatewayPayment:
    charge = intent.latest_charge
    refunded = 0
    with suppress(AttributeError):
        refunded = charge.amount_refunded
    status = _STATUSES.get(intent.status, "UNKNOWN")
    if intent.status == "requires_payment_method" and decline_of(intent) is not None:
        status = "DECLINED"
    return GatewayPayment(
        intent_id=intent.id,
        reference=_metadata(intent).get("reference", ""),
        status=status,
        amount=intent.amount,
        captured=intent.amount_received,
        refunded=refunded,
        currency=intent.currency.upper(),
    )
