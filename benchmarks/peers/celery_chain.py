"""Celery: a chain of a task a step; a declined payment fails the chain, whose error callback starts the way back."""

import os
from typing import Any

from celery import Celery, chain

from benchmarks.crew import serve
from benchmarks.peers.commits import commit, place
from benchmarks.statements import END, PAY, RESERVE, SHIP

# Named for this module, which the starter knows as `__main__`. What redis-py calls unix:, Celery calls redis+socket:.
app = Celery(
    "benchmarks.peers.celery_chain",
    broker=os.environ["REDIS_URL"].replace("unix://", "redis+socket://", 1),
)
app.conf.task_ignore_result = True


class Declined(Exception):
    pass


@app.task
def reserve_stock(product: int, quantity: int) -> None:
    commit(RESERVE, quantity, product)


@app.task(throws=(Declined,))
def record_payment(number: str, cents: int, declined: bool) -> None:
    if declined:
        raise Declined
    commit(PAY, number, cents)


@app.task
def record_shipment(number: str) -> None:
    commit(SHIP, number, f"label of {number}")


@app.task
def end_order(status: str, number: str) -> None:
    commit(END, status, number)


@app.task
def turn_back(number: str, product: int, quantity: int) -> None:
    chain(reserve_stock.si(product, -quantity), end_order.si("CANCELLED", number)).delay()


def do(number: str, product: int, quantity: int, cents: int, declined: bool) -> float:
    placed = place(number, product, quantity, cents)
    steps: Any = chain(
        reserve_stock.si(product, quantity),
        record_payment.si(number, cents, declined),
        record_shipment.si(number),
        end_order.si("CONFIRMED", number),
    )
    steps.on_error(turn_back.si(number, product, quantity)).delay()
    return placed


if __name__ == "__main__":
    serve(do)
