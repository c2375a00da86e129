"""RQ: a job a step, each of which enqueues the next."""

import os

from redis import Redis
from rq import Queue

from benchmarks.crew import serve
from benchmarks.peers.commits import commit, place
from benchmarks.statements import END, PAY, RESERVE, SHIP

queue = Queue(os.environ["RQ_QUEUE"], connection=Redis.from_url(os.environ["REDIS_URL"]))


def _then(step: str, *arguments: object) -> None:
    queue.enqueue(f"{MODULE}.{step}", *arguments, result_ttl=0)


def reserve_stock(number: str, product: int, quantity: int, cents: int, declined: bool) -> None:
    commit(RESERVE, quantity, product)
    if declined:
        _then("release_stock", number, product, quantity)
    else:
        _then("record_payment", number, cents)


def record_payment(number: str, cents: int) -> None:
    commit(PAY, number, cents)
    _then("record_shipment", number)


def record_shipment(number: str) -> None:
    commit(SHIP, number, f"label of {number}")
    _then("end_order", "CONFIRMED", number)


def release_stock(number: str, product: int, quantity: int) -> None:
    commit(RESERVE, -quantity, product)
    _then("end_order", "CANCELLED", number)


def end_order(status: str, number: str) -> None:
    commit(END, status, number)


MODULE = "benchmarks.peers.rq_jobs"


def do(number: str, product: int, quantity: int, cents: int, declined: bool) -> float:
    placed = place(number, product, quantity, cents)
    _then("reserve_stock", number, product, quantity, cents, declined)
    return placed


if __name__ == "__main__":
    serve(do)
