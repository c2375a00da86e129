"""How long each list and page takes that people and programs look at. Django has to be set up."""

import time
from statistics import median
from uuid import UUID

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

TIMES = 5
SAGAS, ORDERS = "sagas_sagainstance", "shop_order"

# Each list of the admin with what can be asked of it: a search, a filter; KEY is a row's key.
LISTS = {
    SAGAS: [
        "q=KEY", "q=G0001", "q=g", "q=none", "status=COMPLETED", "status=LIVE", "status=ABANDONED", "person=yes",
        "definition=shop.checkout", "started=hour", "started=older", "status=COMPENSATED&started=older",
        "definition=bench.order&status=SUSPENDED&started=week",
    ],
    "sagas_operation": ["q=KEY", "q=none"],
    "sagas_semanticlock": ["q=KEY"],
    "sagas_periodicjob": [],
    ORDERS: ["q=KEY", "q=g0001", "q=none", "status__exact=delivered", "status__exact=returned"],
    "shop_product": ["q=mug"],
    "payments_payment": ["q=KEY", "q=none", "status__exact=CAPTURED", "status__exact=UNKNOWN"],
    "payments_refund": ["q=KEY", "q=none", "status__exact=SUCCEEDED", "status__exact=FAILED"],
    "payments_gatewayevent": ["q=KEY", "q=none", "status__exact=APPLIED", "status__exact=OPEN"],
    "shipping_shipment": [
        "q=KEY", "q=none", "status__exact=BOOKED", "status__exact=REFUSED", "tracking_status__exact=in_transit",
        "status__exact=CANCELLED&tracking_status__exact=delivered",
    ],
    "shipping_trackingevent": ["q=KEY", "q=none", "status__exact=APPLIED", "status__exact=OPEN"],
    "inventory_reservation": ["q=KEY", "q=none", "status__exact=COMMITTED", "status__exact=HELD"],
    "inventory_stockitem": ["q=mug"],
    "inventory_stockmovement": ["q=KEY", "q=MUG-1", "q=none", "kind__exact=SHIPPED", "kind__exact=WRITTEN_OFF"],
}  # fmt: skip
DETAILS = (
    ORDERS, "payments_payment", "payments_refund", "payments_gatewayevent", "shipping_shipment",
    "shipping_trackingevent", "inventory_reservation", "inventory_stockmovement",
)  # fmt: skip
DASHBOARD = (
    "",
    "?period=15m",
    "?period=24h",
    "?period=7d",
    "?period=7d&definition=bench.order",
    "?definition=shop.checkout",
)
API = ("", "?status=COMPLETED", "?status=SUSPENDED", "?definition=shop.checkout", "?key=KEY", "?page_size=100")


def addresses(key: str, saga: UUID, row: int) -> list[str]:
    """Everything that is shown; ``key`` names an old row, and so do the ids of a saga and of the other tables."""
    asked = [
        f"{reverse(f'admin:{name}_changelist')}{query and '?'}{query}"
        for name, queries in LISTS.items()
        for query in ["", *queries]
    ]
    deep = [f"{reverse(f'admin:{name}_changelist')}?p={page}" for name, page in ((SAGAS, 20), ("payments_payment", 10))]
    details = [reverse(f"admin:{name}_change", args=[row]) for name in DETAILS]
    of_saga = [reverse(f"admin:{SAGAS}_change", args=[saga]), reverse("api-saga", args=[saga])]
    api = [reverse("api-sagas") + query for query in API]
    dashboard = [reverse("dashboard") + query for query in DASHBOARD]
    asked += [
        *dashboard,
        *deep,
        *details,
        *of_saga,
        *api,
        reverse("admin:index"),
        reverse("metrics"),
        reverse("admin:shop_order_by_number", args=[key]),
    ]
    return [address.replace("KEY", key) for address in asked]


def measure(key: str, saga: UUID, row: int) -> dict[str, float]:
    """The median of each in milliseconds, in the process of the web server, with its templates."""
    client = Client()
    client.force_login(User.objects.get_or_create(username="operator", is_staff=True, is_superuser=True)[0])
    return {address: _median(client, address) for address in addresses(key, saga, row)}


def _median(client: Client, address: str) -> float:
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        response = client.get(address, secure=True, follow=True)
        times.append((time.perf_counter() - began) * 1_000)
        if response.status_code != 200:
            raise AssertionError(f"{address} answered {response.status_code}")
    return median(times)
