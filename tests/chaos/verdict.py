"""Whether everything is right: at rest, by our rows, by the bank's and the carrier's own ledgers, by the clients' logs.

Plain SQL and dictionaries: nothing here trusts the code that is tested.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.chaos.shoppers import Shoppers
from tests.chaos.wishes import GOOD_CARD, NOWHERE, STOCK, Errand, Wish
from tests.chaos.world import World

Rows = list[dict[str, Any]]

LIVE = "status NOT IN ('COMPLETED', 'COMPENSATED', 'ABANDONED', 'SUSPENDED')"
PAID = ("confirmed", "shipped", "delivered")
SENT = (*PAID, "returned")
ORDERS = """
    SELECT o.number, o.email, o.status, o.total_amount AS total, o.currency, o.created_at, o.ship_line1 AS line1,
           CASE WHEN EXISTS (SELECT FROM sagas_sagainstance other
               WHERE starts_with(other.business_key, o.number) AND other.status = 'SUSPENDED')
               THEN 'SUSPENDED' ELSE saga.status END AS saga,
           payment.status AS payment, payment.captured_amount AS captured,
           payment.refunded_amount AS refunded, shipment.status AS shipment, shipment.tracking_code
      FROM shop_order o
      LEFT JOIN sagas_sagainstance saga ON saga.definition = 'shop.checkout' AND saga.business_key = o.number
      LEFT JOIN payments_payment payment ON payment.reference = o.number
      LEFT JOIN shipping_shipment shipment
           ON shipment.reference = CASE o.parcel WHEN 1 THEN o.number ELSE o.number || '-' || o.parcel END
"""
SOLD = """
    SELECT line.sku, sum(line.quantity)::int AS sold FROM shop_orderline line JOIN shop_order o ON o.id = line.order_id
     WHERE o.status IN ('confirmed', 'shipped', 'delivered') GROUP BY line.sku
"""


def live_sagas(world: World) -> int:
    return int(world.rows(f"SELECT count(*) AS n FROM sagas_sagainstance WHERE {LIVE}")[0]["n"])


def suspended(world: World) -> Rows:
    return world.rows(
        "SELECT id::text, definition, business_key, suspend_reason, attention, stalls FROM sagas_sagainstance"
        " WHERE status = 'SUSPENDED' ORDER BY id"
    )


def violations(world: World, shoppers: Shoppers, stock_before: dict[str, int]) -> list[str]:
    """Every rule that does not hold, in words. Call it when all is at rest."""
    orders = {order["number"]: order for order in world.rows(ORDERS)}
    return [
        *at_rest(world),
        *money(orders, world.ledger("bank")),
        *parcels(orders, world.ledger("carrier")),
        *stock(world, stock_before, broken(shoppers, orders)),
        *promises(shoppers, orders),
        *wishes_fulfilled(shoppers, orders),
        *audit(world),
    ]


def at_rest(world: World) -> Iterator[str]:
    yield from (
        f"saga {row['business_key']} is still {row['status']}"
        for row in world.rows(f"SELECT business_key, status FROM sagas_sagainstance WHERE {LIVE}")
    )
    # No fault of these runs needs a person, so a saga that asks for one took the weather for something else.
    yield from (
        f"saga {row['business_key']} is set aside for a person: {row['suspend_reason'] or 'without a reason'}"
        for row in suspended(world)
    )


def money(orders: dict[str, dict[str, Any]], ledger: Rows) -> Iterator[str]:
    """The bank's ledger against our orders: captured once and in full, or nothing captured and nothing held."""
    at_bank = defaultdict(list)
    for payment in ledger:
        at_bank[payment["reference"]].append(payment)
    for reference in at_bank.keys() - orders.keys():
        yield f"the bank has a payment for {reference or 'nothing'}, which is no order"
    for number, order in orders.items():
        payments = at_bank[number]
        kept = sum(payment["captured"] - payment["refunded"] for payment in payments)
        held = sum(payment["held"] for payment in payments)
        captures = [payment for payment in payments if payment["captured"]]
        if len(payments) > 1:
            yield f"{number} has {len(payments)} payments at the bank"
        if len(captures) > 1:
            yield f"{number} was captured {len(captures)} times"
        if order["saga"] == "SUSPENDED":
            continue
        due = order["total"] if order["status"] in PAID else 0
        if kept != due:
            yield f"{number} is {order['status']}: the bank keeps {kept}, due are {due}"
        if held:
            yield f"{number} is {order['status']}: the bank still holds {held}"
        ours = (order["captured"] or 0) - (order["refunded"] or 0)
        if ours != kept:
            yield f"{number}: our row says {ours}, the bank keeps {kept}"
        if any(payment["currency"] != order["currency"] for payment in captures):
            yield f"{number} was captured in another currency"


def parcels(orders: dict[str, dict[str, Any]], ledger: Rows) -> Iterator[str]:
    """The carrier's ledger against our orders: what was sent has one label, ours; no other label is paid for."""
    labels: dict[str, Rows] = defaultdict(list)
    for shipment in ledger:
        if shipment["tracking_code"]:
            number = order_of(shipment["reference"], orders)
            labels[number].append(shipment)
            if number not in orders:
                yield f"the carrier has a label for {shipment['reference'] or 'nothing'}, which is no order"
    for number, order in orders.items():
        for reference, times in Counter(label["reference"] for label in labels[number]).items():
            if times > 1:
                yield f"{number}: parcel {reference} has {times} labels"
        if order["saga"] == "SUSPENDED":
            continue
        paid_for = [label for label in labels[number] if label["refund_status"] not in ("submitted", "refunded")]
        due = 1 if order["status"] in SENT else 0
        if len(paid_for) != due:
            yield f"{number} is {order['status']}: {len(paid_for)} labels are paid for, due are {due}"
        elif due and paid_for[0]["tracking_code"] != order["tracking_code"]:
            yield f"{number}: our label is {order['tracking_code']}, the carrier's {paid_for[0]['tracking_code']}"


def order_of(reference: str, orders: dict[str, dict[str, Any]]) -> str:
    """The order of a parcel: the second one of S-1 is S-1-2."""
    return reference if reference in orders else (reference or "").rpartition("-")[0]


def broken(shoppers: Shoppers, orders: dict[str, dict[str, Any]]) -> Counter[str]:
    """What came back and cannot be sold again, by sku."""
    returns = [
        (wish, errand)
        for wish, order in placed(shoppers, orders)
        if (errand := wish.asked("return")) and order["status"] == "returned"
    ]
    return Counter(wish.body["lines"][0]["sku"] for wish, errand in returns if errand.breaks_one)


def stock(world: World, before: dict[str, int], broken: Counter[str]) -> Iterator[str]:
    sold = {row["sku"]: row["sold"] for row in world.rows(SOLD)}
    suspended_holds = bool(suspended(world))
    for row in world.rows("SELECT sku, on_hand, reserved FROM inventory_stockitem WHERE sku = ANY(%s)", list(before)):
        sku, gone = row["sku"], before[row["sku"]] - row["on_hand"]
        due = sold.get(sku, 0) + broken[sku]
        if gone != due:
            yield f"{sku}: {gone} left the stock, {sold.get(sku, 0)} were sold, {broken[sku]} came back broken"
        if due > before[sku]:
            yield f"{sku}: {due} are gone, there were {before[sku]}"
        if row["reserved"] and not suspended_holds:
            yield f"{sku}: {row['reserved']} are still reserved"


def promises(shoppers: Shoppers, orders: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What the clients were told against what is: Jepsen's question, of orders."""
    by_email = defaultdict(list)
    for order in orders.values():
        by_email[order["email"]].append(order)
    wished = {wish.email: wish for wish in shoppers.wishes}
    for email in by_email.keys() - wished.keys():
        yield f"an order for {email}, which nobody placed"
    for email, wish in wished.items():
        placed = by_email.get(email, [])
        if len(placed) > 1:
            yield f"{email} asked once and has {len(placed)} orders"
        for answer in wish.accepted:
            if answer.body.get("number") not in orders:
                yield f"{email} was told of order {answer.body.get('number')}, which does not exist"
        if len({told(answer.body) for answer in wish.accepted}) > 1:
            yield f"{email} was given different answers for one key"
        for answer in wish.answers:
            committed = [o for o in placed if answer.sent_at <= o["created_at"].timestamp() <= answer.came_at]
            if answer.status >= 500 and answer.status != 503 and committed:
                yield f"{email} was answered {answer.status} though {committed[0]['number']} was placed"
    with ThreadPoolExecutor(8) as pool:
        accepted = [wish for wish in shoppers.wishes if wish.accepted]
        for wish, problem in zip(accepted, pool.map(lambda w: asked_again(shoppers, w), accepted), strict=True):
            if problem:
                yield f"{wish.email}: {problem}"


def wishes_fulfilled(shoppers: Shoppers, orders: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Faults may delay a wish, never decide it: what was accepted is carried out, if nothing else stands in its way."""
    for wish, order in placed(shoppers, orders):
        cancel, readdress, back = (wish.asked(what) for what in ("cancel", "readdress", "return"))
        is_, number = f"is {order['status']}", order["number"]
        if cancel and cancel.accepted and order["status"] != "cancelled":
            yield f"{number} {is_}, though its cancellation was accepted"
        if wish.can_be_carried_out and not cancel and order["status"] not in SENT:
            yield f"{number} {is_}, though nothing stood in its way"
        if wish.body["payment_token"] != GOOD_CARD and order["status"] != "cancelled":
            yield f"{number} {is_}, though its card is declined"
        if order["status"] in SENT and order["line1"] != (due := address_due(wish, readdress)):
            yield f"{number} goes to {order['line1']}, due is {due}"
        if back and back.is_inspected and order["status"] != ("returned" if back.accepted_goods else "delivered"):
            yield f"{number} {is_}, though its return was {'' if back.accepted_goods else 'not '}accepted"
        if order["status"] == "returned" and not (back and back.accepted_goods):
            yield f"{number} was returned, which nobody asked for or the shop refused"


def address_due(wish: Wish, readdress: Errand | None) -> str:
    asked = readdress.address if readdress and readdress.accepted else {"postal_code": NOWHERE}
    return str((wish.body["shipping_address"] if asked["postal_code"] == NOWHERE else asked)["line1"])


def placed(shoppers: Shoppers, orders: dict[str, dict[str, Any]]) -> Iterator[tuple[Wish, dict[str, Any]]]:
    """Each wish with its order, except of those that wait for a person."""
    by_email = {order["email"]: order for order in orders.values()}
    for wish in shoppers.wishes:
        order = by_email.get(wish.email)
        if order is not None and order["saga"] != "SUSPENDED":
            yield wish, order


def told(body: dict[str, Any]) -> str:
    return json.dumps(body, sort_keys=True)


def asked_again(shoppers: Shoppers, wish: Wish) -> str:
    """Everything works again, so the same request gets the same answer at once."""
    before = told(wish.accepted[0].body)
    answer = shoppers.send(wish)
    if answer.status != 202:
        return f"asked again, the answer is {answer.status}: {str(answer.body)[:200]}"
    return "" if told(answer.body) == before else "asked again, the answer is another one"


def audit(world: World) -> Iterator[str]:
    """The shop's own auditor, as an operator runs it."""
    done = world.manage("audit", "--json")
    try:
        report = json.loads(done.stdout)
    except ValueError:
        yield f"the audit did not run: {done.stderr[-400:]}"
        return
    yield from (
        f"audit: {found['rule']} {found['subject']}: {found['found']}, expected {found['expected']}"
        for found in report["violations"]
    )


def stock_before(world: World) -> dict[str, int]:
    skus = [sku for sku, _, _ in STOCK]
    rows = world.rows("SELECT sku, on_hand FROM inventory_stockitem WHERE sku = ANY(%s)", skus)
    return {row["sku"]: row["on_hand"] for row in rows}
