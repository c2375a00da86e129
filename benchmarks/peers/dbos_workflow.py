"""DBOS Transact: a workflow whose steps are transactions of a datasource, begun and run by the same processes."""

import os

from dbos import DBOS, SQLAlchemyDatasource

from benchmarks.crew import serve
from benchmarks.peers.commits import place
from benchmarks.statements import END, PAY, RESERVE, SHIP

URL = os.environ["DATABASE_URL"].replace("postgres://", "postgresql://", 1)
THREADS = 1

DBOS(
    config={
        "name": "orders",
        "system_database_url": URL,
        "executor_id": str(os.getpid()),
        "application_version": "1",
        "max_executor_threads": THREADS,
        "log_level": "ERROR",
    }
)
datasource = SQLAlchemyDatasource.create(URL.replace("postgresql://", "postgresql+psycopg://", 1))


class Declined(Exception):
    pass


def commit(statement: str, *parameters: object) -> None:
    datasource.sql_session().connection().exec_driver_sql(statement, parameters)


@datasource.transaction()
def reserve_stock(product: int, quantity: int) -> None:
    commit(RESERVE, quantity, product)


@datasource.transaction()
def record_payment(number: str, cents: int, declined: bool) -> None:
    if declined:
        raise Declined
    commit(PAY, number, cents)


@datasource.transaction()
def record_shipment(number: str) -> None:
    commit(SHIP, number, f"label of {number}")


@datasource.transaction()
def end_order(status: str, number: str) -> None:
    commit(END, status, number)


@DBOS.workflow()
def order(number: str, product: int, quantity: int, cents: int, declined: bool) -> None:
    reserve_stock(product, quantity)
    try:
        record_payment(number, cents, declined)
    except Declined:
        reserve_stock(product, -quantity)
        end_order("CANCELLED", number)
        return
    record_shipment(number)
    end_order("CONFIRMED", number)


def do(number: str, product: int, quantity: int, cents: int, declined: bool) -> float:
    placed = place(number, product, quantity, cents)
    DBOS.start_workflow(order, number, product, quantity, cents, declined)
    return placed


if __name__ == "__main__":
    DBOS.launch()
    serve(do)
    DBOS.destroy(workflow_completion_timeout_sec=60)
