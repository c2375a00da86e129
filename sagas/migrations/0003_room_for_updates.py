"""Room in the pages of rows that change often, so that a change which touches no index stays in its page (HOT)."""

from django.db import migrations

ROOM = """
ALTER TABLE sagas_sagainstance SET (fillfactor = 70);
ALTER TABLE sagas_sagastep SET (fillfactor = 80);
"""
NO_ROOM = """
ALTER TABLE sagas_sagainstance RESET (fillfactor);
ALTER TABLE sagas_sagastep RESET (fillfactor);
"""


class Migration(migrations.Migration):
    dependencies = [("sagas", "0002_refuse_unless_holder")]
    operations = [migrations.RunSQL(ROOM, NO_ROOM)]
