"""The tables whose changes a dry run shows: see `sagas_note_change`."""

from django.db import migrations

TABLES = [
    "inventory_reservation",
    "inventory_stockitem",
    "inventory_stockmovement",
    "payments_payment",
    "payments_refund",
    "shipping_shipment",
    "shop_addresswish",
    "shop_order",
]

CREATE = """
CREATE TRIGGER shown_in_a_dry_run AFTER INSERT OR UPDATE OR DELETE ON {0} FOR EACH ROW
WHEN (current_setting('sagas.dry_run', true) = 'on') EXECUTE FUNCTION sagas_note_change()
"""


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0001_initial"),
        ("inventory", "0002_append_only_ledger"),
        ("payments", "0001_initial"),
        ("sagas", "0007_note_changes_of_a_dry_run"),
        ("shipping", "0001_initial"),
        ("shop", "0002_orders_belong_to_their_saga"),
    ]
    operations = [
        migrations.RunSQL(CREATE.format(table), f"DROP TRIGGER shown_in_a_dry_run ON {table}") for table in TABLES
    ]
