from django.db import migrations

CREATE = """
CREATE TRIGGER shop_order_belongs_to_its_saga BEFORE UPDATE OR DELETE ON shop_order
FOR EACH ROW EXECUTE FUNCTION sagas_refuse_unless_holder('shop.order', 'number');
"""


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial"), ("sagas", "0002_refuse_unless_holder")]
    operations = [migrations.RunSQL(CREATE, "DROP TRIGGER shop_order_belongs_to_its_saga ON shop_order")]
