"""What PostgreSQL itself refuses in the books of the bank.

* The ledger takes no UPDATE and no DELETE: a mistake is corrected by another posting.
* Every statement that writes it writes both sides: what it adds to a transfer's ledger is zero in sum.
* While a saga holds an account, only that saga changes it.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION banking_refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: correct it with another posting'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER banking_ledger_append_only BEFORE UPDATE OR DELETE ON banking_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION banking_refuse_ledger_change();

CREATE FUNCTION banking_refuse_one_sided_posting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM written GROUP BY transfer_id, posting HAVING sum(amount) <> 0) THEN
        RAISE EXCEPTION 'a posting takes from one account what it gives to another: its entries are zero in sum'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER banking_ledger_balanced AFTER INSERT ON banking_ledgerentry
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION banking_refuse_one_sided_posting();

CREATE TRIGGER banking_account_belongs_to_its_saga BEFORE UPDATE OR DELETE ON banking_account
    FOR EACH ROW EXECUTE FUNCTION sagas_refuse_unless_holder('banking.account', 'number');
"""
BACKWARD = """
DROP TRIGGER banking_account_belongs_to_its_saga ON banking_account;
DROP TRIGGER banking_ledger_balanced ON banking_ledgerentry;
DROP FUNCTION banking_refuse_one_sided_posting();
DROP TRIGGER banking_ledger_append_only ON banking_ledgerentry;
DROP FUNCTION banking_refuse_ledger_change();
"""


class Migration(migrations.Migration):
    dependencies = [("banking", "0001_initial"), ("sagas", "0002_refuse_unless_holder")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
