"""What has to hold between an order, its checkout, its stock, its money and its parcel.

The only place that reads the tables of several apps: in SQL, in the auditor's snapshot, and without
writing. What is only true at rest leaves out an order that a saga holds, and one whose checkout a
person closed knowingly.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from inventory import selectors as inventory
from payments import selectors as payments
from sagas import selectors as sagas
from sagas.audit import Rule, Scope, Violation, auditor, broken

CHECKOUTS = ("shop.checkout", "shop.choreographed_checkout")

# The orders that the scope is about, each with its checkout, and their parcels: the first, and one for each address
# that was asked for. `rests` says that no saga holds the order. An order whose refund failed is always among them:
# banks tell it days after its last saga has ended.
_ORDERS = """
    , numbers AS (
        SELECT number FROM shop_order WHERE status = 'pending' OR %(everything)s
        UNION SELECT saga.data ->> 'order_number' FROM scope JOIN sagas_sagainstance saga USING (id)
         WHERE scope.definition LIKE 'shop.%%' AND NOT %(everything)s
        UNION SELECT payment.reference FROM payments_refund refund JOIN payments_payment payment
            ON payment.id = refund.payment_id AND payment.refunded_amount < payment.captured_amount
         WHERE refund.status = 'FAILED'),
    orders AS (
        SELECT o.id, o.number, o.mode, o.parcel, o.status, o.total_amount, o.currency, checkout.id AS saga,
               checkout.backward, checkout.status AS checkout,
               checkout.status NOT IN ('COMPLETED', 'COMPENSATED', 'ABANDONED') AS live,
               checkout.status IS DISTINCT FROM 'ABANDONED' AND NOT EXISTS (
                   SELECT FROM sagas_semanticlock WHERE resource_type = 'shop.order' AND resource_id = o.number
               ) AS rests
          FROM numbers JOIN shop_order o USING (number)
          LEFT JOIN sagas_sagainstance checkout
            ON checkout.definition IN ('shop.checkout', 'shop.choreographed_checkout')
           AND checkout.business_key = o.number),
    parcels AS (
        SELECT saga, number AS reference, orders.status, rests, parcel = 1 AS is_current FROM orders
        UNION ALL
        SELECT saga, number || '-' || wish.parcel, orders.status, rests, wish.parcel = orders.parcel
          FROM orders JOIN shop_addresswish wish ON wish.order_id = orders.id)
"""


def _rule(sentence: str, sql: str) -> Rule:
    return Rule(sentence, f"{_ORDERS} {sql}")


# --- the order and its checkout -------------------------------------------------------------------

PENDING_ORDERS_ARE_BEING_CHECKED_OUT = _rule(
    "A pending order has a live checkout.",
    """
    SELECT saga, number, coalesce(checkout, 'no checkout'), 'a live checkout' FROM orders
     WHERE status = 'pending' AND live IS NOT TRUE AND checkout IS DISTINCT FROM 'ABANDONED'
    """,
)
THE_CHECKOUT_DECIDES_THE_STATUS = _rule(
    "An order is where its checkout has brought it.",
    """
    SELECT saga, number, status || ', checkout ' || checkout, CASE checkout
           WHEN 'COMPENSATED' THEN 'cancelled' WHEN 'COMPLETED' THEN 'confirmed, or later'
           ELSE CASE WHEN confirm.action = 'SUCCEEDED' THEN 'confirmed, or later' ELSE 'pending' END END
      FROM orders
      LEFT JOIN sagas_sagastep confirm ON confirm.saga_id = orders.saga AND confirm.name = 'confirm_order'
     WHERE checkout IS NOT NULL  -- ended sagas are purged, and their orders stay
       AND CASE checkout WHEN 'ABANDONED' THEN false
           WHEN 'COMPENSATED' THEN status <> 'cancelled' WHEN 'COMPLETED' THEN status = 'pending'
           ELSE (status = 'pending') <> (confirm.action IS DISTINCT FROM 'SUCCEEDED') END
    """,
)

# --- confirmed: paid, taken from stock, on its way --------------------------------------------------

CONFIRMED_ORDERS_ARE_PAID_IN_FULL = _rule(
    "A confirmed order is paid in full, and nothing of it was given back.",
    """
    SELECT saga, number, coalesce(payment.status || ' ' || payment.captured_amount || ' ' || payment.currency
           || ', refunded ' || payment.refunded_amount, 'no payment'),
           'CAPTURED ' || total_amount || ' ' || orders.currency || ', refunded 0'
      FROM orders LEFT JOIN payments_payment payment ON payment.reference = number
     WHERE rests AND orders.status IN ('confirmed', 'shipped', 'delivered')
       AND (payment.status, payment.captured_amount, payment.refunded_amount, payment.currency)
           IS DISTINCT FROM ('CAPTURED', total_amount, 0, orders.currency)
    """,
)
CONFIRMED_ORDERS_HAVE_THEIR_GOODS = _rule(
    "The goods of a confirmed order have left the stock, each line of it.",
    """
    , wanted AS (
        SELECT saga, number, line.sku, line.quantity FROM orders JOIN shop_orderline line ON line.order_id = orders.id
         WHERE rests AND orders.status IN ('confirmed', 'shipped', 'delivered')),
    taken AS (
        SELECT wanted.number, line.sku, line.quantity, reservation.status
          FROM (SELECT DISTINCT number FROM wanted) AS wanted
          JOIN inventory_reservation reservation ON reservation.reference = wanted.number
          JOIN inventory_reservationline line ON line.reservation_id = reservation.id)
    SELECT wanted.saga, coalesce(wanted.number, taken.number) || ' ' || sku,
           coalesce(taken.quantity || ' ' || taken.status, 'nothing'),
           coalesce(wanted.quantity || ' COMMITTED', 'nothing')
      FROM wanted FULL JOIN taken USING (number, sku)
     WHERE (taken.quantity, taken.status) IS DISTINCT FROM (wanted.quantity, 'COMMITTED')
    """,
)
CONFIRMED_ORDERS_HAVE_A_PARCEL = _rule(
    "A confirmed order has a parcel that is booked, and only that one.",
    """
    SELECT saga, parcels.reference, coalesce(shipment.status, 'no shipment'), 'BOOKED'
      FROM parcels LEFT JOIN shipping_shipment shipment USING (reference)
     WHERE rests AND is_current AND parcels.status IN ('confirmed', 'shipped', 'delivered')
       AND shipment.status IS DISTINCT FROM 'BOOKED'
    UNION ALL
    SELECT saga, parcels.reference, shipment.status, 'CANCELLED or REFUSED'
      FROM parcels JOIN shipping_shipment shipment USING (reference)
     WHERE rests AND NOT is_current AND parcels.status IN ('confirmed', 'shipped', 'delivered')
       AND shipment.status NOT IN ('CANCELLED', 'REFUSED')
    """,
)

# --- cancelled: as if it had never been -------------------------------------------------------------

CANCELLED_ORDERS_HOLD_NO_MONEY = _rule(
    "Of a cancelled order nothing is held at the bank, and what was taken is given back.",
    """
    SELECT saga, number, payment.status || ' ' || payment.captured_amount || ', refunded ' || payment.refunded_amount,
           'DECLINED, VOIDED, or all refunded'
      FROM orders JOIN payments_payment payment ON payment.reference = number
     WHERE rests AND orders.status = 'cancelled' AND payment.status NOT IN ('DECLINED', 'VOIDED')
       AND NOT (payment.status = 'CAPTURED' AND payment.captured_amount = payment.refunded_amount)
    """,
)
CANCELLED_ORDERS_HOLD_NO_GOODS = _rule(
    "The goods of a cancelled order are released, or back in stock.",
    """
    SELECT saga, number, reservation.status || ', ' || coalesce(sum(-movement.delta), 0) || ' outside',
           'RELEASED, 0 outside'
      FROM orders JOIN inventory_reservation reservation ON reservation.reference = number
      LEFT JOIN inventory_stockmovement movement ON movement.reference = number AND movement.reference <> ''
     WHERE rests AND orders.status = 'cancelled'
     GROUP BY saga, number, reservation.status
    HAVING reservation.status = 'HELD' OR coalesce(sum(movement.delta), 0) <> 0
    """,
)
CANCELLED_ORDERS_HAVE_NO_PARCEL = _rule(
    "A cancelled order has no parcel that is booked or being cancelled.",
    """
    SELECT saga, parcels.reference, shipment.status, 'CANCELLED or REFUSED'
      FROM parcels JOIN shipping_shipment shipment USING (reference)
     WHERE rests AND parcels.status = 'cancelled' AND shipment.status NOT IN ('CANCELLED', 'REFUSED')
    """,
)

# --- returned: the goods came back, and so did the money ------------------------------------------------

# The money goes back first; a return that is under way holds its own lock.
RETURNED_ORDERS_ARE_PAID_BACK = _rule(
    "Of a returned order all money is given back, and once its return has ended no goods are outside.",
    """
    SELECT saga, number, coalesce(payment.captured_amount - payment.refunded_amount, 0) || ' kept, '
           || coalesce(goods.outside, 0) || ' outside', '0 kept, 0 outside'
      FROM orders LEFT JOIN payments_payment payment ON payment.reference = number
      LEFT JOIN LATERAL (SELECT -sum(delta) AS outside FROM inventory_stockmovement
                          WHERE reference = number AND reference <> '') AS goods ON true
     WHERE orders.status = 'returned'
       AND (payment.id IS NULL OR payment.captured_amount <> payment.refunded_amount
            OR goods.outside <> 0 AND NOT EXISTS (
               SELECT FROM sagas_semanticlock WHERE resource_type = 'shop.return' AND resource_id = number))
    """,
)

# --- stock: one commit with the step, so this holds while it moves, too --------------------------------

A_RESERVATION_IS_WHERE_ITS_STEPS_ARE = _rule(
    "A reservation is held, released or committed as the steps of its checkout say.",
    """
    , stands AS (
        SELECT saga, number, reservation.status AS found, CASE
               WHEN reserve.action IS DISTINCT FROM 'SUCCEEDED' THEN 'none'
               WHEN reserve.compensation = 'SUCCEEDED' THEN 'RELEASED'
               WHEN confirm.action = 'SUCCEEDED' THEN 'COMMITTED' ELSE 'HELD' END AS expected
          FROM orders
          LEFT JOIN sagas_sagastep reserve ON reserve.saga_id = orders.saga AND reserve.name = 'reserve_stock'
          LEFT JOIN sagas_sagastep confirm ON confirm.saga_id = orders.saga AND confirm.name = 'confirm_order'
          LEFT JOIN inventory_reservation reservation ON reservation.reference = number
         WHERE mode = 'orchestrated' AND checkout <> 'ABANDONED' AND reserve.compensation IS DISTINCT FROM 'WAIVED')
    SELECT saga, number, coalesce(found, 'none'), expected FROM stands
     WHERE coalesce(found, 'none') <> expected AND NOT (expected = 'none' AND found = 'RELEASED')
    """,
)
A_RESERVATION_IS_WHERE_ITS_EVENTS_ARE = _rule(
    "A reservation is held, released or committed as the events of its flow say.",
    """
    , told AS (
        SELECT saga, number, array_agg(event.type::text) AS types
          FROM orders JOIN sagas_outboxevent event ON event.subject = number AND event.source = '/inventory'
         WHERE mode = 'choreographed' AND checkout <> 'ABANDONED' GROUP BY saga, number),
    stands AS (
        SELECT saga, number, coalesce(reservation.status, 'none') AS found, CASE
               WHEN 'inventory.stock_released' = ANY(types) THEN 'RELEASED'
               WHEN 'inventory.stock_taken' = ANY(types) THEN 'COMMITTED'
               WHEN 'inventory.stock_reserved' = ANY(types) THEN 'HELD' ELSE 'none' END AS expected
          FROM told LEFT JOIN inventory_reservation reservation ON reservation.reference = number)
    SELECT saga, number, found, expected FROM stands WHERE found <> expected
    """,
)
THE_END_OF_A_FLOW_IS_TOLD = _rule(
    "What became of a choreographed order is told, once.",
    """
    SELECT orders.saga, number, coalesce(string_agg(event.type, ', '), 'nothing'), CASE checkout
           WHEN 'COMPLETED' THEN 'shop.order_confirmed' WHEN 'COMPENSATED' THEN 'shop.order_cancelled' END
      FROM orders LEFT JOIN sagas_outboxevent event
        ON event.subject = number AND event.type IN ('shop.order_confirmed', 'shop.order_cancelled')
     WHERE mode = 'choreographed' AND checkout IN ('COMPLETED', 'COMPENSATED')
       AND EXISTS (SELECT FROM sagas_outboxevent WHERE subject = number)
     GROUP BY orders.saga, number, checkout
    HAVING array_agg(event.type::text) IS DISTINCT FROM ARRAY[CASE checkout
           WHEN 'COMPLETED' THEN 'shop.order_confirmed' ELSE 'shop.order_cancelled' END]
    """,
)
GOODS_ARE_HELD_FOR_LIVE_CHECKOUTS_ONLY = Rule(
    "Goods are held for a live checkout only.",
    """
    SELECT checkout.id, reservation.reference, 'HELD, checkout ' || coalesce(checkout.status, 'none'), 'a live checkout'
      FROM inventory_reservation reservation
      LEFT JOIN sagas_sagainstance checkout
        ON checkout.definition IN ('shop.checkout', 'shop.choreographed_checkout')
       AND checkout.business_key = reservation.reference
     WHERE reservation.status = 'HELD'
       AND (checkout.id IS NULL OR checkout.status IN ('COMPLETED', 'COMPENSATED'))
    """,
)

# --- everything: the totals, and what belongs to nobody -------------------------------------------------

MONEY_TAKEN_IS_WHAT_CONFIRMED_ORDERS_COST = _rule(
    "What was taken and not given back is what the confirmed orders cost, in each currency.",
    """
    , resting AS (SELECT * FROM orders WHERE rests AND live IS NOT TRUE),
    taken AS (
        SELECT currency, sum(captured_amount - refunded_amount) AS amount FROM payments_payment
         WHERE reference NOT IN (SELECT number FROM orders EXCEPT SELECT number FROM resting) GROUP BY currency),
    cost AS (
        SELECT currency, sum(total_amount) AS amount FROM resting
         WHERE status IN ('confirmed', 'shipped', 'delivered') GROUP BY currency)
    SELECT NULL::uuid, currency, coalesce(taken.amount, 0), coalesce(cost.amount, 0)
      FROM taken FULL JOIN cost USING (currency) WHERE coalesce(taken.amount, 0) <> coalesce(cost.amount, 0)
    """,
)
EVERYTHING_BELONGS_TO_AN_ORDER = Rule(
    "Every payment, reservation and shipment belongs to an order.",
    """
    SELECT NULL::uuid, part.reference, part.kind, 'an order with this number'
      FROM (SELECT reference, 'payment' AS kind FROM payments_payment
            UNION ALL SELECT reference, 'reservation' FROM inventory_reservation
            UNION ALL SELECT coalesce(substring(reference from '^(.+-.+)-[0-9]+$'), reference), 'shipment'
              FROM shipping_shipment) AS part
      LEFT JOIN shop_order o ON o.number = part.reference WHERE o.id IS NULL
    """,
)

RULES = (
    PENDING_ORDERS_ARE_BEING_CHECKED_OUT,
    THE_CHECKOUT_DECIDES_THE_STATUS,
    CONFIRMED_ORDERS_ARE_PAID_IN_FULL,
    CONFIRMED_ORDERS_HAVE_THEIR_GOODS,
    CONFIRMED_ORDERS_HAVE_A_PARCEL,
    CANCELLED_ORDERS_HOLD_NO_MONEY,
    CANCELLED_ORDERS_HOLD_NO_GOODS,
    CANCELLED_ORDERS_HAVE_NO_PARCEL,
    RETURNED_ORDERS_ARE_PAID_BACK,
    A_RESERVATION_IS_WHERE_ITS_STEPS_ARE,
    A_RESERVATION_IS_WHERE_ITS_EVENTS_ARE,
    THE_END_OF_A_FLOW_IS_TOLD,
    GOODS_ARE_HELD_FOR_LIVE_CHECKOUTS_ONLY,
)
TOTALS = (MONEY_TAKEN_IS_WHAT_CONFIRMED_ORDERS_COST, EVERYTHING_BELONGS_TO_AN_ORDER)


@auditor("orders")
def order_violations(scope: Scope) -> Iterator[Violation]:
    """Orders that disagree with their checkout, their stock, their money or their parcel."""
    return broken(RULES, scope)


@auditor("totals", everything_only=True)
def total_violations(scope: Scope) -> Iterator[Violation]:
    return broken(TOTALS, scope)


class _Books(Protocol):
    """What the selectors of the participants return."""

    @property
    def rule(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def found(self) -> int: ...
    @property
    def expected(self) -> int: ...


@auditor("stock", everything_only=True)
def stock_violations(scope: Scope) -> Iterator[Violation]:
    """The books of the stock; they are summed up over the whole ledger."""
    return _violations("Stock", inventory.stock_violations())


@auditor("money", everything_only=True)
def money_violations(scope: Scope) -> Iterator[Violation]:
    """The books of the payments."""
    return _violations("Money", payments.money_violations())


def _violations(books: str, found: Iterable[_Books]) -> Iterator[Violation]:
    """The participants know references only: the first word of a subject is one, or a sku."""
    for row in found:
        violation = Violation(f"{books}: {row.rule}.", row.subject, str(row.found), str(row.expected))
        number = row.subject.partition(" ")[0]
        saga = next(filter(None, (sagas.saga_of(checkout, number) for checkout in CHECKOUTS)), None)
        yield replace(violation, saga=saga.pk) if saga else violation
