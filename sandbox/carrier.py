"""The sandbox carrier: shipments, labels and trackers in EasyPost's shape (https://docs.easypost.com/docs/shipments).

It proves our reading of EasyPost, not EasyPost.
"""

import json
import re
import secrets
from datetime import UTC, datetime
from typing import Any

from sandbox.server import Answer, Request
from sandbox.store import Store, new_id

_ROUTES = [
    ("create", "POST", re.compile(r"/v2/shipments")),
    ("list", "GET", re.compile(r"/v2/shipments")),
    ("retrieve", "GET", re.compile(r"/v2/shipments/([^/]+)")),
    ("buy", "POST", re.compile(r"/v2/shipments/([^/]+)/buy")),
    ("refund", "POST", re.compile(r"/v2/shipments/([^/]+)/refund")),
    ("track", "GET", re.compile(r"/v2/trackers/([^/]+)")),
]
_RATES = [("Priority", "9.85", 2), ("GroundAdvantage", "6.40", 5)]
_MOVES = ["pre_transit", "in_transit", "out_for_delivery", "delivered", "return_to_sender"]
_NOWHERE = "00000"  # the postal code to which no parcel can go


class CarrierError(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code = status, code
        super().__init__(message)


class Carrier:
    """Books, moves and takes back parcels that do not exist."""

    operations = [name for name, _, _ in _ROUTES]
    declinable = ["buy", "refund"]

    def __init__(self, store: Store, api_key: str) -> None:
        self._store, self._api_key = store, api_key

    def operation_of(self, request: Request) -> str | None:
        match = self._route(request)
        return match[0] if match else None

    def act(self, request: Request, decline: str) -> Answer:
        if request.headers.get("authorization") != f"Bearer {self._api_key}":
            return Answer(401, self.trouble(401, "invalid API key"))
        try:
            with self._store.transaction():
                return Answer(200, self._answer(request, decline))
        except CarrierError as error:
            return Answer(error.status, {"error": {"code": error.code, "message": str(error), "errors": []}})

    def trouble(self, status: int, message: str) -> dict[str, Any]:
        return {"error": {"code": f"HTTP.{status}", "message": message, "errors": []}}

    def ledger(self) -> dict[str, Any]:
        """What the carrier believes, by itself: every shipment."""
        return {
            "shipments": [
                {
                    "shipment_id": shipment["id"],
                    "reference": shipment["reference"],
                    "tracking_code": shipment["tracking_code"],
                    "status": shipment["status"],
                    "refund_status": shipment["refund_status"],
                }
                for shipment in self._store.all("shipment")
            ]
        }

    def control(self, wish: dict[str, Any]) -> str | None:
        """``{"move": <reference or tracking code>, "status": "in_transit"}`` moves a parcel and sends its event."""
        if "move" not in wish:
            return "send a fault, latency_ms, remember, go_back, or a parcel to move"
        status = wish.get("status", "")
        if status not in _MOVES:
            return f"unknown status {status!r}; there are: {', '.join(_MOVES)}"
        with self._store.transaction():
            for shipment in self._store.all("shipment"):
                if wish["move"] in (shipment["reference"], shipment["tracking_code"]) and shipment["tracking_code"]:
                    shipment["status"] = status
                    self._save(shipment)
                    self._send("tracker.updated", _tracker(shipment))
                    return None
        return f"no parcel {wish['move']!r} is booked"

    def _route(self, request: Request) -> tuple[str, str] | None:
        for name, method, pattern in _ROUTES:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                return name, (match.groups() or ("",))[0]
        return None

    def _answer(self, request: Request, decline: str) -> dict[str, Any]:
        name, id_ = self._route(request) or ("", "")
        try:
            body = json.loads(request.body or b"{}")
            if name == "create":
                return self._create(body["shipment"])
        except (ValueError, KeyError, TypeError) as error:
            raise CarrierError(400, "BAD_REQUEST", f"malformed request: {error}") from error
        if name == "list":
            return self._list(request.query)
        if name == "track":
            return self._track(id_)
        shipment = self._shipment(id_)
        if name == "buy":
            self._buy(shipment, body, decline)
        elif name == "refund":
            self._refund(shipment, decline)
        elif shipment["refund_status"] == "submitted":
            self._finish_refund(shipment)
        return shipment

    def _create(self, wish: dict[str, Any]) -> dict[str, Any]:
        to_address = dict(wish["to_address"])
        if not float(wish["parcel"]["weight"]) > 0:
            raise CarrierError(422, "SHIPMENT.INVALID_PARAMS", "Parcel weight must be greater than 0.")
        if to_address.get("zip") == _NOWHERE or len(str(to_address.get("country", ""))) != 2:
            raise CarrierError(422, "ADDRESS.VERIFY.FAILURE", "Unable to verify address.")
        shipment = {
            "id": new_id("shp"),
            "object": "Shipment",
            "mode": "test",
            "reference": wish.get("reference"),
            "status": "unknown",
            "to_address": to_address,
            "from_address": wish.get("from_address"),
            "parcel": wish.get("parcel"),
            "rates": [_rate(*rate) for rate in _RATES],
            "selected_rate": None,
            "postage_label": None,
            "tracking_code": None,
            "tracker": None,
            "refund_status": None,
            "created_at": _now(),
        }
        self._save(shipment)
        return shipment

    def _buy(self, shipment: dict[str, Any], body: dict[str, Any], decline: str) -> None:
        if shipment["tracking_code"]:
            raise CarrierError(422, "SHIPMENT.POSTAGE.EXISTS", "Postage already exists for this shipment.")
        rate = next((rate for rate in shipment["rates"] if rate["id"] == (body.get("rate") or {}).get("id")), None)
        if rate is None:
            raise CarrierError(422, "SHIPMENT.RATE.INVALID", "Could not find rate with this ID.")
        if decline:
            raise CarrierError(422, "SHIPMENT.POSTAGE.FAILURE", f"Unable to buy postage ({decline}).")
        shipment.update(
            selected_rate=rate,
            status="pre_transit",
            tracking_code=f"SBX{secrets.randbelow(10**12):012d}",
            postage_label={"id": new_id("pl"), "object": "PostageLabel"},
        )
        shipment["tracker"] = _tracker(shipment)
        self._save(shipment)
        self._send("tracker.created", shipment["tracker"])

    def _refund(self, shipment: dict[str, Any], decline: str) -> None:
        if not shipment["tracking_code"]:
            raise CarrierError(422, "SHIPMENT.REFUND.UNAVAILABLE", "There is no postage to refund.")
        if shipment["refund_status"]:
            return
        if decline or shipment["status"] not in ("pre_transit", "unknown"):
            raise CarrierError(422, "SHIPMENT.REFUND.UNAVAILABLE", "The parcel was scanned already.")
        shipment["refund_status"] = "submitted"
        self._save(shipment)

    def _finish_refund(self, shipment: dict[str, Any]) -> None:
        """Refunds are asynchronous: whoever looks again finds this one done."""
        shipment["refund_status"] = "refunded"
        self._save(shipment)

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        shipments = self._store.all("shipment")[::-1]
        if query.get("purchased") == "true":
            shipments = [shipment for shipment in shipments if shipment["tracking_code"]]
        after = next((i for i, shipment in enumerate(shipments) if shipment["id"] == query.get("before_id")), -1)
        page, limit = shipments[after + 1 :], int(query.get("page_size", 20))
        return {"shipments": page[:limit], "has_more": len(page) > limit}

    def _track(self, id_: str) -> dict[str, Any]:
        for shipment in self._store.all("shipment"):
            if shipment["tracker"] and id_ in (shipment["tracker"]["id"], shipment["tracking_code"]):
                return _tracker(shipment)
        raise CarrierError(404, "NOT_FOUND", "The requested resource could not be found.")

    def _shipment(self, id_: str) -> dict[str, Any]:
        """By id, or by reference: then the oldest."""
        found = self._store.get("shipment", id_)
        if found is None:
            found = next(iter(self._store.referring("shipment", id_)), None)
        if found is None:
            raise CarrierError(404, "NOT_FOUND", "The requested resource could not be found.")
        return found

    def _save(self, shipment: dict[str, Any]) -> None:
        self._store.put("shipment", shipment, reference=shipment["reference"] or "")

    def _send(self, description: str, result: dict[str, Any]) -> None:
        self._store.queue_webhook(
            {
                "id": new_id("evt"),
                "object": "Event",
                "mode": "test",
                "description": description,
                "created_at": _now(),
                "result": result,
            }
        )


def _rate(service: str, price: str, days: int) -> dict[str, Any]:
    return {
        "id": new_id("rate"),
        "object": "Rate",
        "carrier": "SandboxPost",
        "service": service,
        "rate": price,
        "currency": "EUR",
        "delivery_days": days,
    }


def _tracker(shipment: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": (shipment["tracker"] or {}).get("id") or new_id("trk"),
        "object": "Tracker",
        "tracking_code": shipment["tracking_code"],
        "status": shipment["status"],
        "message": f"The parcel is {shipment['status'].replace('_', ' ')}.",
        "shipment_id": shipment["id"],
        "carrier": "SandboxPost",
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
