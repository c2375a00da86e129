"""A saga is taken up for its next turn, or the statement and all that are sent along with it fail.

As a function, because its plan is kept by the session: what is sent along with others is not prepared.
"""

from django.db import migrations

CREATE = """
CREATE FUNCTION sagas_take_up_again(saga uuid, known_version int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM sagas_sagainstance WHERE id = saga AND version = known_version FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'somebody else is at saga %, or has moved it on', saga USING ERRCODE = 'SG001';
    END IF;
    PERFORM set_config('sagas.holder', saga::text, true);
END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("sagas", "0011_cheaper_writes")]
    operations = [migrations.RunSQL(CREATE, "DROP FUNCTION sagas_take_up_again(uuid, int)")]
