"""The gateway port: what a bank must be able to do for us, and the words in which we ask.

Requests and receipts hold only str, int and None: they are stored as JSON beside the saga step.
Amounts are in minor units. Every call may be made again with the same key.

All methods raise `Declined`, `GatewayUnavailable`, `OutcomeUnknown` or `GatewayMisuse`; those named
``find_...`` also `NotDone`, a proven negative. Adapters are called from many threads at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    reference: str
    amount: int
    currency: str
    payment_method: str


@dataclass(frozen=True, slots=True)
class Authorization:
    intent_id: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class VoidRequest:
    """``request`` and ``authorization_key`` are those of the authorization; no request: none was ever made."""

    reference: str
    authorization_key: str
    request: AuthorizationRequest | None
    intent_id: str | None


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    reference: str
    intent_id: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class Capture:
    intent_id: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class RefundRequest:
    refund_reference: str
    reference: str
    intent_id: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class RefundReceipt:
    refund_id: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class GatewayPayment:
    """A payment as the gateway sees it, for reconciliation. ``status`` is one of ours."""

    intent_id: str
    reference: str
    status: str
    amount: int
    captured: int
    refunded: int
    currency: str


class Gateway(Protocol):
    def authorize(self, request: AuthorizationRequest, *, key: str, timeout: timedelta) -> Authorization:
        """Hold the money. Two calls inside: an intent is created, then confirmed, so that `void` always finds it."""
        ...

    def find_authorization(self, request: AuthorizationRequest, *, key: str, timeout: timedelta) -> Authorization:
        """What became of an authorization whose answer was lost."""
        ...

    def void(self, request: VoidRequest, *, key: str, timeout: timedelta) -> None:
        """Let the money go and make a late authorization impossible. Accepts that nothing is there."""
        ...

    def capture(self, request: CaptureRequest, *, key: str, timeout: timedelta) -> Capture: ...

    def find_capture(self, request: CaptureRequest, *, timeout: timedelta) -> Capture: ...

    def refund(self, request: RefundRequest, *, key: str, timeout: timedelta) -> RefundReceipt: ...

    def find_refund(self, request: RefundRequest, *, timeout: timedelta) -> RefundReceipt: ...

    def payments_since(self, moment: datetime, *, timeout: timedelta) -> Iterator[GatewayPayment]:
        """Every payment created since ``moment``; ``timeout`` is for each page."""
        ...
