"""A trigger function for tables whose rows a saga can hold.

    CREATE TRIGGER ... BEFORE UPDATE OR DELETE ON shop_order
    FOR EACH ROW EXECUTE FUNCTION sagas_refuse_unless_holder('shop.order', 'number');

The arguments are the type of the resource and the column with its id. While a saga holds the row,
only transactions that act for that saga may change it: raw SQL and a forgotten path are refused, too.
"""

from django.db import migrations

CREATE = """
CREATE FUNCTION sagas_refuse_unless_holder() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    holder uuid;
BEGIN
    SELECT saga_id INTO holder FROM sagas_semanticlock
    WHERE resource_type = TG_ARGV[0] AND resource_id = to_jsonb(OLD) ->> TG_ARGV[1] AND saga_id IS NOT NULL;
    IF holder IS NOT NULL AND holder::text <> coalesce(current_setting('sagas.holder', true), '') THEN
        RAISE EXCEPTION '% % is held by saga %', TG_ARGV[0], to_jsonb(OLD) ->> TG_ARGV[1], holder
            USING ERRCODE = 'object_in_use', HINT = 'Pass sagas.services.guard before you write, or act in a step.';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("sagas", "0001_initial")]
    operations = [migrations.RunSQL(CREATE, "DROP FUNCTION sagas_refuse_unless_holder()")]
