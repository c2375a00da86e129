"""What has to hold between accounts, ledger and transfers, as SQL. Part of every audit."""

from collections.abc import Iterator

from sagas.audit import Rule, Scope, Violation, auditor, broken

# The transfers that the scope is about, with what the ledger says each has moved. One whose saga a person
# closed knowingly is left out.
_MOVED = """
    , moved AS (
        SELECT scope.id AS saga, scope.status AS ended, scope.pivot_passed, transfer.number, transfer.amount,
               transfer.status, coalesce(sum(entry.amount) FILTER (WHERE entry.account = source), 0) AS at_source,
               coalesce(sum(entry.amount) FILTER (WHERE entry.account = target), 0) AS at_target
          FROM scope JOIN banking_transfer transfer ON transfer.number = scope.business_key
          LEFT JOIN banking_ledgerentry entry ON entry.transfer_id = transfer.id
         WHERE scope.definition = 'banking.transfer' AND scope.status <> 'ABANDONED'
         GROUP BY scope.id, scope.status, scope.pivot_passed, transfer.id)
"""

A_TRANSFER_IS_WHERE_ITS_SAGA_IS = Rule(
    "A transfer is recorded since its saga's pivot, and rejected when that was turned back.",
    f"""
    {_MOVED}, expected AS (
        SELECT moved.*, CASE WHEN ended = 'COMPENSATED' THEN 'rejected' WHEN pivot_passed THEN 'recorded'
               ELSE 'requested' END AS expected FROM moved)
    SELECT saga, number, status, expected FROM expected WHERE status <> expected
    """,  # noqa: S608 - made of constants
)
A_TRANSFER_MOVES_ALL_OR_NOTHING = Rule(
    "A recorded transfer has moved its amount from source to target, and a rejected one nothing.",
    f"""
    {_MOVED}, expected AS (
        SELECT moved.*, CASE WHEN status = 'recorded' THEN amount ELSE 0 END AS expected FROM moved
         WHERE status <> 'requested')
    SELECT saga, number, at_source || ' and ' || at_target, -expected || ' and ' || expected
      FROM expected WHERE at_source <> -expected OR at_target <> expected
    """,  # noqa: S608 - made of constants
)
A_BALANCE_IS_THE_SUM_OF_ITS_ENTRIES = Rule(
    "The balance of an account is the sum of its ledger entries.",
    """
    SELECT NULL::uuid, number, balance_amount, coalesce(sum(amount), 0)
      FROM banking_account account LEFT JOIN banking_ledgerentry entry ON entry.account = number
     WHERE kind = 'customer' GROUP BY account.id HAVING balance_amount <> coalesce(sum(amount), 0)
    """,
)
NOTHING_IS_MADE_OR_LOST = Rule(
    "What customers have and what is in transit is what was paid in.",
    """
    SELECT NULL::uuid, 'the whole bank', customers + in_transit, paid_in
      FROM (SELECT coalesce(sum(balance_amount), 0) AS customers FROM banking_account) AS accounts,
           (SELECT coalesce(sum(amount) FILTER (WHERE account = 'clearing'), 0) AS in_transit,
                   coalesce(-sum(amount) FILTER (WHERE account = 'vault'), 0) AS paid_in
              FROM banking_ledgerentry WHERE account IN ('clearing', 'vault')) AS ledger
     WHERE customers + in_transit <> paid_in
    """,
)


@auditor("transfers")
def transfer_violations(scope: Scope) -> Iterator[Violation]:
    """Transfers that disagree with their saga, or with the ledger."""
    return broken([A_TRANSFER_IS_WHERE_ITS_SAGA_IS, A_TRANSFER_MOVES_ALL_OR_NOTHING], scope)


@auditor("accounts", everything_only=True)
def account_violations(scope: Scope) -> Iterator[Violation]:
    """The books of the whole bank; they are summed up over the whole ledger."""
    return broken([A_BALANCE_IS_THE_SUM_OF_ITS_ENTRIES, NOTHING_IS_MADE_OR_LOST], scope)
