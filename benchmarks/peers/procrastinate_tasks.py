"""Procrastinate: an asynchronous task a step, each of which defers the next."""

import os
from typing import Any

from procrastinate import App, PsycopgConnector

from benchmarks.crew import serve
from benchmarks.peers.commits import commit_async, place
from benchmarks.statements import END, PAY, RESERVE, SHIP

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))


def task(function: Any) -> Any:
    """Named for its function: the starter knows this module as `__main__`."""
    return app.task(name=function.__name__)(function)


@task
async def reserve_stock(number: str, product: int, quantity: int, cents: int, declined: bool) -> None:
    await commit_async(RESERVE, quantity, product)
    if declined:
        await release_stock.defer_async(number=number, product=product, quantity=quantity)
    else:
        await record_payment.defer_async(number=number, cents=cents)


@task
async def record_payment(number: str, cents: int) -> None:
    await commit_async(PAY, number, cents)
    await record_shipment.defer_async(number=number)


@task
async def record_shipment(number: str) -> None:
    await commit_async(SHIP, number, f"label of {number}")
    await end_order.defer_async(status="CONFIRMED", number=number)


@task
async def release_stock(number: str, product: int, quantity: int) -> None:
    await commit_async(RESERVE, -quantity, product)
    await end_order.defer_async(status="CANCELLED", number=number)


@task
async def end_order(status: str, number: str) -> None:
    await commit_async(END, status, number)


def do(number: str, product: int, quantity: int, cents: int, declined: bool) -> float:
    placed = place(number, product, quantity, cents)
    reserve_stock.defer(number=number, product=product, quantity=quantity, cents=cents, declined=declined)
    return placed


if __name__ == "__main__":
    with app.open():
        serve(do)
