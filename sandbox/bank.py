"""The sandbox bank: PaymentIntents and refunds in Stripe's shape (https://docs.stripe.com/api/payment_intents).

It proves our reading of Stripe, not Stripe.
"""

import hashlib
import re
import time
from typing import Any
from urllib.parse import parse_qsl

from sandbox.bank_objects import (
    DECLINING,
    WORKING,
    BankError,
    card_error,
    new_event,
    new_intent,
    new_refund,
    unexpected_state,
)
from sandbox.server import Answer, Request
from sandbox.store import Store

_ROUTES = [
    ("create", "POST", re.compile(r"/v1/payment_intents")),
    ("list", "GET", re.compile(r"/v1/payment_intents")),
    ("search", "GET", re.compile(r"/v1/payment_intents/search")),
    ("retrieve", "GET", re.compile(r"/v1/payment_intents/([^/]+)")),
    ("confirm", "POST", re.compile(r"/v1/payment_intents/([^/]+)/confirm")),
    ("capture", "POST", re.compile(r"/v1/payment_intents/([^/]+)/capture")),
    ("cancel", "POST", re.compile(r"/v1/payment_intents/([^/]+)/cancel")),
    ("refund", "POST", re.compile(r"/v1/refunds")),
    ("list_refunds", "GET", re.compile(r"/v1/refunds")),
]
_BY_REFERENCE = re.compile(r"metadata\['reference'\]:'([^']*)'")


class Bank:
    """Holds, takes and returns money that does not exist."""

    operations = [name for name, _, _ in _ROUTES]
    declinable = ["confirm"]

    def __init__(self, store: Store, api_key: str) -> None:
        self._store, self._api_key = store, api_key

    def operation_of(self, request: Request) -> str | None:
        match = self._route(request)
        return match[0] if match else None

    def act(self, request: Request, decline: str) -> Answer:
        if request.headers.get("authorization") != f"Bearer {self._api_key}":
            return Answer(401, self.trouble(401, "invalid API key"))
        key, fingerprint = request.idempotency_key, hashlib.sha256(request.path.encode() + request.body).hexdigest()
        with self._store.transaction():
            if key and (kept := self._store.kept_answer(key)):
                if kept[0] != fingerprint:
                    return Answer(400, {"error": {"type": "idempotency_error", "message": "key used for another body"}})
                return Answer(kept[1], kept[2], {"Idempotent-Replayed": "true"})
            answer = self._answer(request, decline)
            if key:
                self._store.keep_answer(key, fingerprint, answer.status, answer.body)
        return answer

    def trouble(self, status: int, message: str) -> dict[str, Any]:
        kind = "invalid_request_error" if 400 <= status < 409 else "api_error"
        code = "idempotency_key_in_use" if status == 409 else None
        return {"error": {"type": kind, "code": code, "message": message}}

    def ledger(self) -> dict[str, Any]:
        """What the bank believes, by itself: every payment, and the sums per currency."""
        payments: list[dict[str, Any]] = []
        totals: dict[str, dict[str, int]] = {}
        for intent in self._store.all("payment_intent"):
            row = {
                "intent_id": intent["id"],
                "reference": intent["metadata"].get("reference", ""),
                "status": intent["status"],
                "amount": intent["amount"],
                "confirmed": intent["latest_charge"] is not None,
                "held": intent["amount_capturable"],
                "captured": intent["amount_received"],
                "refunded": intent["amount_refunded"],
                "currency": intent["currency"].upper(),
            }
            payments.append(row)
            total = totals.setdefault(row["currency"], {"held": 0, "captured": 0, "refunded": 0})
            for name in total:
                total[name] += row[name]
        return {"payments": payments, "totals": totals}

    def control(self, wish: dict[str, Any]) -> str | None:
        """``{"forget_keys": true}``: as after the 24 hours for which idempotency keys are kept."""
        if not wish.get("forget_keys"):
            return "send a fault, latency_ms, remember, go_back, or forget_keys"
        self._store.forget_answers()
        return None

    def _route(self, request: Request) -> tuple[str, str] | None:
        for name, method, pattern in _ROUTES:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                return name, (match.groups() or ("",))[0]
        return None

    def _answer(self, request: Request, decline: str) -> Answer:
        name, id_ = self._route(request) or ("", "")
        form = dict(parse_qsl(request.body.decode()))
        try:
            match name:
                case "create":
                    return Answer(200, self._create(form))
                case "list":
                    return Answer(200, self._list(request.query))
                case "search":
                    return Answer(200, self._search(request.query))
                case "refund":
                    return Answer(200, self._refund(form))
                case "list_refunds":
                    return Answer(200, self._list_refunds(request.query))
            intent = self._intent(id_)
            match name:
                case "confirm":
                    self._confirm(intent, form, decline)
                case "capture":
                    self._capture(intent, form)
                case "cancel":
                    self._cancel(intent, form)
            return Answer(200, intent)
        except BankError as error:
            return Answer(error.status, error.body)

    def _create(self, form: dict[str, str]) -> dict[str, Any]:
        intent = new_intent(form)
        self._save(intent)
        return intent

    def _confirm(self, intent: dict[str, Any], form: dict[str, str], decline: str) -> None:
        if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
            raise unexpected_state("confirm", intent)
        method = form.get("payment_method") or intent["payment_method"]
        code = decline or DECLINING.get(method or "")
        if not code and method not in WORKING:
            raise BankError(400, f"No such PaymentMethod: '{method}'", code="resource_missing", param="payment_method")
        if code:
            error = card_error(code, intent)
            intent["last_payment_error"] = error.body["error"]
            self._save(intent, "payment_intent.payment_failed")
            raise error
        intent.update(payment_method=method, last_payment_error=None, latest_charge=f"ch_{intent['id'][3:]}")
        if intent["capture_method"] == "manual":
            intent.update(status="requires_capture", amount_capturable=intent["amount"])
            self._save(intent, "payment_intent.amount_capturable_updated")
        else:
            intent.update(status="succeeded", amount_received=intent["amount"])
            self._save(intent, "payment_intent.succeeded")

    def _capture(self, intent: dict[str, Any], form: dict[str, str]) -> None:
        if intent["status"] != "requires_capture":
            raise unexpected_state("capture", intent)
        amount = int(form.get("amount_to_capture", intent["amount_capturable"]))
        if not 0 < amount <= intent["amount_capturable"]:
            raise BankError(400, "amount_to_capture is more than is held", code="amount_too_large")
        intent.update(status="succeeded", amount_capturable=0, amount_received=amount)
        self._save(intent, "payment_intent.succeeded")

    def _cancel(self, intent: dict[str, Any], form: dict[str, str]) -> None:
        if intent["status"] in ("succeeded", "canceled"):
            raise unexpected_state("cancel", intent)
        intent.update(
            status="canceled",
            amount_capturable=0,
            canceled_at=int(time.time()),
            cancellation_reason=form.get("cancellation_reason"),
        )
        self._save(intent, "payment_intent.canceled")

    def _refund(self, form: dict[str, str]) -> dict[str, Any]:
        intent = self._intent(form.get("payment_intent", ""))
        left = intent["amount_received"] - intent["amount_refunded"]
        refund = new_refund(form, intent, left)
        intent["amount_refunded"] += refund["amount"]
        self._save(intent)
        self._store.put("refund", refund, reference=intent["id"])
        self._store.queue_webhook(new_event("refund.updated", refund))
        return refund

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        """Newest first, as Stripe does."""
        intents = self._store.all("payment_intent")[::-1]
        since = int(query.get("created[gte]", 0))
        intents = [self._expanded(intent) for intent in intents if intent["created"] >= since]
        after = next((i for i, intent in enumerate(intents) if intent["id"] == query.get("starting_after")), -1)
        page, limit = intents[after + 1 :], int(query.get("limit", 10))
        return {"object": "list", "url": "/v1/payment_intents", "data": page[:limit], "has_more": len(page) > limit}

    def _search(self, query: dict[str, str]) -> dict[str, Any]:
        wanted = _BY_REFERENCE.fullmatch(query.get("query", ""))
        if wanted is None:
            raise BankError(400, "this sandbox searches by metadata['reference'] only", param="query")
        found = self._store.referring("payment_intent", wanted[1])[::-1]
        return {"object": "search_result", "url": "/v1/payment_intents/search", "data": found, "has_more": False}

    def _list_refunds(self, query: dict[str, str]) -> dict[str, Any]:
        refunds = self._store.referring("refund", query.get("payment_intent", ""))
        return {"object": "list", "url": "/v1/refunds", "data": refunds[::-1], "has_more": False}

    def _expanded(self, intent: dict[str, Any]) -> dict[str, Any]:
        if not intent["latest_charge"]:
            return intent
        charge = {"id": intent["latest_charge"], "object": "charge", "amount_refunded": intent["amount_refunded"]}
        return {**intent, "latest_charge": charge}

    def _intent(self, id_: str) -> dict[str, Any]:
        intent = self._store.get("payment_intent", id_)
        if intent is None:
            raise BankError(404, f"No such payment_intent: '{id_}'", code="resource_missing", param="intent")
        return intent

    def _save(self, intent: dict[str, Any], event: str = "") -> None:
        self._store.put("payment_intent", intent, reference=intent["metadata"].get("reference", ""))
        if event:
            self._store.queue_webhook(new_event(event, intent))
