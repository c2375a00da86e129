"""The work of an order as SQL: what the psycopg loop and the peers execute."""

PLACE = "INSERT INTO bench_order (number, product_id, quantity, cents, status) VALUES (%s, %s, %s, %s, 'PLACED')"
RESERVE = "UPDATE bench_product SET stock = stock - %s WHERE id = %s"
PAY = "INSERT INTO bench_payment (order_id, cents) VALUES (%s, %s) RETURNING id"
SHIP = "INSERT INTO bench_shipment (order_id, label) VALUES (%s, %s) RETURNING id"
END = "UPDATE bench_order SET status = %s, ended_at = statement_timestamp() WHERE number = %s"
