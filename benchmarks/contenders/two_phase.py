"""The transfer as one transaction over two databases: PostgreSQL's PREPARE TRANSACTION, and a coordinator.

In favour of two-phase commit: this coordinator keeps no log of what it decided, which a real one needs and pays
another commit for.
"""

import os
import time

import psycopg

from benchmarks.contenders.loop import Loop
from benchmarks.crew import serve
from benchmarks.transfer_app import accounts, there
from benchmarks.transfer_app.dying import die_if_asked

Connection = psycopg.Connection[tuple[object, ...]]

# Longer than any wait for another transfer: what is waited for then is one that nobody ends.
PATIENCE = "-c lock_timeout=60s"

_DEBIT = "UPDATE bench_transfers_account SET cents = cents - %s WHERE id = %s AND cents >= %s"
_NOTE = """
    INSERT INTO bench_transfers_transfer (number, account_id, cents, status, ended_at)
    VALUES (%s, %s, %s, 'DONE', clock_timestamp())
"""
_CREDIT = "UPDATE account SET cents = cents + %s WHERE id = %s"


class TwoPhaseCommit(Loop):
    """As many transfers at a time as it has processes; more of them gained nothing on two cores."""

    name = "two-phase commit"
    module = __name__
    processes = 8


def transfer(here: Connection, far: Connection, number: str, account: int, cents: int) -> None:
    """Both phases. Rows are locked from the first write to the second phase, in both databases."""
    here.tpc_begin(f"{number} here")  # the names are those of the whole server, whatever the database
    here.execute(_NOTE, (number, account, cents))
    here.execute(_DEBIT, (cents, account, cents))
    there.travel()
    far.tpc_begin(f"{number} there")
    far.execute(_CREDIT, (cents, account))
    here.tpc_prepare()
    there.travel()
    far.tpc_prepare()
    die_if_asked("prepared")
    here.tpc_commit()
    die_if_asked("half committed")
    there.travel()
    far.tpc_commit()


def main() -> None:
    here, far = (psycopg.connect(url, options=PATIENCE) for url in (os.environ["DATABASE_URL"], there.url()))

    def do(number: str, product: int, quantity: int, cents: int, declined: bool) -> float:
        started = time.time()
        transfer(here, far, number, accounts.account_of(product), cents)
        return started

    serve(do)


if __name__ == "__main__":
    main()
