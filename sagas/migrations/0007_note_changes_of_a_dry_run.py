"""A trigger function that tells a dry run which rows it changed.

    CREATE TRIGGER ... AFTER INSERT OR UPDATE OR DELETE ON shop_order FOR EACH ROW
    WHEN (current_setting('sagas.dry_run', true) = 'on') EXECUTE FUNCTION sagas_note_change();

Outside of a dry run the condition is all that it costs. What it notes is a setting of the transaction, a line a
row, so that it goes when the transaction is rolled back.
"""

from django.db import migrations

CREATE = """
CREATE FUNCTION sagas_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('sagas.changes', coalesce(current_setting('sagas.changes', true), '') || jsonb_build_array(
        TG_TABLE_NAME, coalesce(to_jsonb(OLD), to_jsonb(NEW)) ->> 'id', to_jsonb(OLD), to_jsonb(NEW)
    )::text || E'\\n', true);
    RETURN NULL;
END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("sagas", "0006_failures_by_fingerprint")]
    operations = [migrations.RunSQL(CREATE, "DROP FUNCTION sagas_note_change()")]
